"""Training: one LightningModule, two optimizers, runs that can be killed and started again."""
