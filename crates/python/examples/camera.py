"""Classifies the frames of a camera with OpenCV (pip install opencv-python-headless), until Ctrl-C.

python camera.py MODEL [STORE]
"""

import sys
import time

import cv2

import fieldfit


def main() -> None:
    model, *store = sys.argv[1:]
    runtime = fieldfit.Runtime(model, store=store[0] if store else None)
    camera = cv2.VideoCapture(0)
    polled = time.monotonic()
    while True:
        ok, frame = camera.read()  # (height, width, 3), uint8, BGR
        if not ok:
            sys.exit("the camera gives no frame")
        prediction = runtime.infer(frame)
        print(f"{prediction} ({prediction.version})", end="\r", flush=True)
        # Another process may have adapted, activated or rolled back.
        if time.monotonic() - polled > 5:
            runtime.poll()
            polled = time.monotonic()


if __name__ == "__main__":
    main()
