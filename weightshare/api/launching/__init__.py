"""Launch day: rehearsals, embargoes, and the texts that announce a release."""
