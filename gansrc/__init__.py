"""Generative Adversarial Nets (Goodfellow et al., 2014), executed."""

__version__ = "0.1.0"
