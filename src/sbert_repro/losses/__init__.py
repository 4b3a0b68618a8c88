"""The objectives of section 3, of cross-encoders and of InferSent, one file each."""
