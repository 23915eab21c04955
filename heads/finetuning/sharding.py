"""A network whose parameters are shared out: every process holds a part of each of them.

For backbones that do not fit one GPU together with their gradients and AdamW's moments. Processes
share batches as they do without this. A block is put together when it is computed, forward and
back, and let go again; all else is one more such unit. Frozen parameters are shared out too, and
gradients after every part of a batch, so that nobody ever holds all of them. This is torch's own
`fully_shard`; a shared-out parameter is a `DTensor`.

What lies in processes is never seen in files: `whole` and `share_of` go between the two.
"""

import torch
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from heads.errors import BadSetting
from heads.finetuning.net import FinetuneNet
from heads.finetuning.processes import Processes


def check_several(processes: Processes) -> None:
    if processes.count == 1:
        raise BadSetting(
            "shard=true shares the network out to several processes and this is the only one; "
            "start several with torchrun --nproc-per-node N -m heads finetune …, or leave it out."
        )


def share_out(net: FinetuneNet, processes: Processes) -> FinetuneNet:
    """Replace the network's parameters by this process's part of each, on its device.

    In half precision blocks are put together in that precision, and gradients are added up in
    float32, as the parts are kept.
    """
    mesh = init_device_mesh(torch.device(processes.device).type, (processes.count,))
    precision = getattr(torch, net.computes_in(processes.device))
    policy = MixedPrecisionPolicy(
        param_dtype=precision, reduce_dtype=torch.float32, cast_forward_inputs=False
    )
    for block in net.network.blocks:
        fully_shard(block, mesh=mesh, mp_policy=policy)
    # Let go after a pass too, so that between steps every parameter is this process's part.
    fully_shard(net, mesh=mesh, reshard_after_forward=True)
    return net


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor; of a shared-out one all processes have to ask at the same time."""
    tensor = tensor.detach()
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def own_part(tensor: Tensor) -> Tensor:
    """What lies in this process."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def share_of(found: Tensor, like: Tensor) -> Tensor:
    """What this process holds of a whole tensor: the part that it holds of `like`, or all."""
    found = found.to(like.device)
    if isinstance(found, DTensor) or not isinstance(like, DTensor):
        return found
    return distribute_tensor(found, like.device_mesh, like.placements, src_data_rank=None)
