import torch
from btard.training.torch_task import TorchTask


def quadrants(device="cpu", path=None):
    points = torch.rand(1200, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1
    labels = (points[:, 0] * points[:, 1] > 0).long()
    return TorchTask(
        name=f"{__name__}:quadrants",
        model=lambda: torch.nn.Sequential(torch.nn.Linear(2, 64), torch.nn.ReLU(), torch.nn.Linear(64, 2)),
        loss=torch.nn.functional.cross_entropy,
        train=(points[:1000], labels[:1000]), test=(points[1000:], labels[1000:]),
        classes=2, batch_size=32, device=device,
    )  # fmt: skip
