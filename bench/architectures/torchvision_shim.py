# SPDX-License-Identifier: MIT
# Copyright (c) The gradc authors
"""Import this before torchvision: torch's build for processors and torchvision's from the package index do not share a library of operators, and
torchvision refuses to load without those of its own. The classifiers need none of them, so it is enough that they have a name."""
import torch

_library = torch.library.Library("torchvision", "DEF")
_library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
_library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
