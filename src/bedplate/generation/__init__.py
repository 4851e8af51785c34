"""How a sequence is produced from a step: sampling, beams, caches; without torch."""

from bedplate.generation.decoder import Decoder
from bedplate.generation.generator import Generator
from bedplate.generation.running import Running
from bedplate.generation.sampling import Sampling
from bedplate.generation.stream import Piece, Stream

__all__ = ["Decoder", "Generator", "Piece", "Running", "Sampling", "Stream"]
