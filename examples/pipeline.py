"""Find people and their joints in a photo, and save a picture and a JSON file."""

from pathlib import Path

from hpi import Predictor

photo = Path(__file__).with_name("basketball.png")

with Predictor("human_keypoint_detection_lite") as predictor:
    for result in predictor.predict(photo, det_threshold=0.5):
        for person in result["boxes"]:
            x, y, score = person["keypoints"][0]
            print(f"a nose at {x:.0f}, {y:.0f} (score {score:.2f})")
        result.save_to_img("output")
        result.save_to_json("output")
