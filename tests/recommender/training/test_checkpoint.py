import errno
import os

import pytest
import torch

from recommender import files
from recommender.errors import StorageError
from recommender.training.checkpoint import Checkpoint, Checkpoints


def of(number: int) -> Checkpoint:
    return Checkpoint({"number": number}, {"weights": torch.full((5,), float(number))})


def test_the_latest_checkpoint_comes_back_and_only_two_are_kept(tmp_path):
    kept = Checkpoints(tmp_path / "run", "f")
    assert kept.latest() is None
    for number in range(5):
        kept.save(of(number))
    found = kept.latest()
    assert found is not None
    assert found.values == {"number": 4}
    assert torch.equal(found.tensors["weights"], of(4).tensors["weights"])
    assert len(list((tmp_path / "run").iterdir())) == 2
    kept.clear()
    assert not (tmp_path / "run").exists()


def test_when_all_are_damaged_it_starts_again_and_says_so(tmp_path, caplog):
    kept = Checkpoints(tmp_path, "f")
    for number in range(2):
        kept.save(of(number))
    for path in tmp_path.glob("*/tensors.safetensors"):
        path.write_bytes(b"not tensors")
    assert kept.latest() is None
    assert caplog.text.count("is damaged") == 2


def test_after_a_damaged_one_new_checkpoints_win(tmp_path):
    kept = Checkpoints(tmp_path, "f")
    for number in range(2):
        kept.save(of(number))
    (sorted(tmp_path.iterdir())[-1] / "state.json").write_text("{")
    assert kept.latest().values == {"number": 0}
    kept.save(of(7))
    assert kept.latest().values == {"number": 7}


def test_a_full_disk_is_said_and_leaves_the_last_checkpoint_as_it_was(tmp_path, monkeypatch):
    kept = Checkpoints(tmp_path, "f")
    kept.save(of(1))

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(StorageError, match="No space left"):
        kept.save(of(2))
    monkeypatch.undo()
    assert kept.latest().values == {"number": 1}
    assert len(list(tmp_path.iterdir())) == 1


def test_one_of_weights_that_are_no_numbers_counts_as_damaged(tmp_path, caplog):
    kept = Checkpoints(tmp_path, "f")
    kept.save(of(1))
    kept.save(Checkpoint({"number": 2}, {"weights": torch.tensor([1.0, float("inf")])}))
    assert kept.latest().values == {"number": 1}
    assert "weights is not finite" in caplog.text
