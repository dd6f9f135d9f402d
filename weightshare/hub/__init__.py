"""The Hugging Face Hub and its cache on this machine. The only part that imports huggingface_hub, and only when asked.

What the Hub says is a claim like a peer's: it is compared with bytes that were hashed here, never the other way round.
"""
