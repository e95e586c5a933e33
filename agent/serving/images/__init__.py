"""Pictures in, answers in words out: the door for whoever has a photo and no tensors."""
