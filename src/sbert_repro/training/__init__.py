"""Training: one LightningModule, optimizers, callbacks, runs that resume after a kill."""
