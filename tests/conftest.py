"""What every test shares: no time limit an example, for the machine may be busy with others."""

from hypothesis import settings

settings.register_profile("statepipe", deadline=None)
settings.load_profile("statepipe")
