"""The demo: `acts` is the play, `stage` runs its commands in processes of their own and clears up."""
