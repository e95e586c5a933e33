"""`edge chaos`: real agents, a real broker and the real collector are killed and cut off; the samples are counted."""
