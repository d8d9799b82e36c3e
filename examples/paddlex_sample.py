"""The sample of PaddleX's pipeline page: only the import is another."""

from pathlib import Path

from hpi import create_pipeline

pipeline = create_pipeline(pipeline="human_keypoint_detection_lite")
output = pipeline.predict(str(Path(__file__).with_name("basketball.png")), det_threshold=0.5)
for res in output:
    res.print()
    res.save_to_img("./output/")
    res.save_to_json("./output/")
