#!/usr/bin/env python3
"""Writes digits.png, grey: a row an image, its class and then its 8x8 numbers from 0 to 16.

    python3 make.py digits.csv.gz    (scikit-learn's, from sklearn/datasets/data; needs numpy and pillow)
"""
import sys

import numpy as np
from PIL import Image

rows = np.loadtxt(sys.argv[1], delimiter=",").astype(np.uint8)
assert rows.shape == (1797, 65) and rows[:, :64].max() == 16 and rows[:, 64].max() == 9
Image.fromarray(np.roll(rows, 1, axis=1)).save("digits.png", optimize=True)
