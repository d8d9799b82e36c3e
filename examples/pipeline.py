"""Find people and their keypoints in an image, and save a picture and a JSON file."""

from pathlib import Path

from hpi import Predictor

image = Path(__file__).with_name("basketball.png")

with Predictor("human_keypoint_detection_lite") as predictor:
    for result in predictor.predict(image, det_threshold=0.5):
        for person in result["boxes"]:
            x, y, score = person["keypoints"][0]
            print(f"a nose at {x:.0f}, {y:.0f} (score {score:.2f})")
        result.save_to_img("output")
        result.save_to_json("output")
