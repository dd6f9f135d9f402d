"""From device to text: a checkpoint's proven tensors, config and tokenizer in a transformers model.

`transformers_runner.load` gives a `Runner`; `demo_checkpoint.build` makes a small real checkpoint to try it
on. torch and transformers are imported by the modules that use them, never by this package itself.
"""
