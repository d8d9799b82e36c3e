"""A process for each device, as PaddleX's page on parallel inference has it: only the imports are others.

python paddlex_parallel.py [FOLDER] [DEVICE]: images of a folder on "gpu:0,1" and the like. Without GPUs the processes
run on the CPU.
"""

import sys
from multiprocessing import Manager, Process
from pathlib import Path
from queue import Empty

from hpi import create_pipeline
from hpi.compat.paddlex.device import constr_device, parse_device

BATCH_SIZE = 2
OUTPUT = Path("output")


def work(device, tasks):
    """Take images from the queue until it is empty, a batch at a time."""
    pipeline = create_pipeline("human_keypoint_detection_lite", device=device)
    while batch := take(tasks):
        for result in pipeline.predict(batch):
            path = Path(result["input_path"])
            result.save_to_json(str(OUTPUT / f"{path.stem}.json"))
            print(f"{path.name}: {len(result['boxes'])} people", flush=True)


def take(tasks):
    """The next images of the queue, at most a batch."""
    batch = []
    try:
        while len(batch) < BATCH_SIZE:
            batch.append(tasks.get_nowait())
    except Empty:
        pass
    return batch


def main():
    """Put the images into a queue and start the processes."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    kind, numbers = parse_device(sys.argv[2] if len(sys.argv) > 2 else "gpu:0,1")
    OUTPUT.mkdir(exist_ok=True)
    with Manager() as manager:
        tasks = manager.Queue()
        for path in sorted(folder.glob("*.png")):
            tasks.put(str(path))
        devices = [constr_device(kind, [number]) for number in numbers or []] or [kind]
        processes = [Process(target=work, args=(device, tasks)) for device in devices]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
    return max(process.exitcode for process in processes)


if __name__ == "__main__":
    sys.exit(main())
