"""Batch norms of a trained encoder folded into its convolutions, for inference."""

from __future__ import annotations

import copy

from torch import fx, nn
from torch.fx.proxy import TraceError
from torch.nn.utils.fusion import fuse_conv_bn_eval

from xcontrast.nn.encoders import Encoder
from xcontrast.nn.threads import alone

__all__ = ["fold_batch_norms"]


def fold_batch_norms(encoder: Encoder) -> Encoder:
    """Give an encoder of the same values, without the batch norms that follow a convolution.

    Each saves a pass over its feature map: half as fast again in bfloat16, and what compiling
    gives, without waiting for a compiler in each process.

    Parameters
    ----------
    encoder : Encoder
        In eval mode; it is left unchanged.

    Returns
    -------
    Encoder
        The same one where there is nothing to fold, or its code cannot be traced.
    """
    if not any(isinstance(module, nn.BatchNorm2d) for module in encoder.modules()):
        return encoder
    folded = copy.deepcopy(encoder)
    tracer = _Tracer()
    try:
        with alone():
            graph = tracer.trace(folded.body)
    except (TraceError, TypeError, ValueError):
        return encoder
    traced = fx.GraphModule(tracer.root, graph)
    modules = dict(traced.named_modules())
    for node in list(graph.nodes):
        source = node.args[0] if node.op == "call_module" else None
        if not isinstance(source, fx.Node) or source.op != "call_module" or len(source.users) > 1:
            continue
        names = str(source.target), str(node.target)
        conv, norm = (modules[name] for name in names)
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            traced.set_submodule(names[0], fuse_conv_bn_eval(conv, norm))
            # Some of timm's norms hold the activation that follows.
            traced.set_submodule(names[1], getattr(norm, "act", nn.Identity()))
    traced.recompile()
    folded.body = traced
    return folded


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        known = isinstance(m, nn.Conv2d | nn.BatchNorm2d)
        return known or super().is_leaf_module(m, module_qualified_name)
