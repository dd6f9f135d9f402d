"""`doctor`: what works and what does not, one check after the other, each with what to do about it."""
