"""Recorded runs: train with checkpoints, resume, evaluate and reload, with everything a sceptic needs."""

from gansrc.runs.evaluation import evaluate, evaluate_samples
from gansrc.runs.jobs import Job, dealt, plan
from gansrc.runs.record import Record
from gansrc.runs.run import EVALUATION_SEED, Run, recorded
from gansrc.runs.training import train, train_seeds

__all__ = [
    "EVALUATION_SEED", "Job", "Record", "Run", "dealt", "evaluate", "evaluate_samples", "plan", "recorded",
    "train", "train_seeds",
]  # fmt: skip
