"""The beds' own tests use all of them."""

from tests.beds.fixtures import (
    arm64_root,
    beds_swept,
    qemu_board,
    qemu_boards,
    sshd_board,
    sshd_boards,
    systemd_board,
    systemd_boards,
)

__all__ = [
    "arm64_root",
    "beds_swept",
    "qemu_board",
    "qemu_boards",
    "sshd_board",
    "sshd_boards",
    "systemd_board",
    "systemd_boards",
]
