"""Anomalies: what a model that has seen good pictures only did not expect of a picture, and where.

Three scores, each first a map, one number a pixel.

**Excess.** The picture x is damaged at a few levels and restored. What was expected comes back; what was not costs

    e = BCE(x, r) - h(x) = KL(Bern(x) || Bern(r)) >= 0

nats a pixel. Bright, dark and grainy pictures cost more everywhere, so each level's e, averaged over ``WINDOW`` pixels
square, is divided by its median over the picture, plus the mean of good pictures at that level, which the card has: a
pixel is judged against its own picture, and one of an empty ground against others. The median counts up to ``CAP``
times that mean, so that a picture which costs far more than good ones, everywhere, is not its own excuse. The map is
the mean over the levels.

**Neighbours.** The map of features f of the network (:mod:`.encoder`), each averaged over its 3x3 neighbours and in
units of its standard deviation, is compared with those of good pictures, wherever in them they lie: the map is the mean
distance of f to the K nearest among at most ``MEMORY`` of theirs, drawn at random (after PatchCore, Roth et al. 2022,
there with the features of a classifier and a greedy choice). It needs good pictures at hand.

By these two, the score of a picture is the mean of the ``WORST`` share of its map, though of no fewer pixels than a
window has; the border does not count.

**Aligned neighbours.** Models of one size see pictures that are aligned, and a picture may be odd as a whole. So the
whole map of features is compared: the map is the mean square of its difference to the K good pictures whose maps are
nearest by that measure, and the score is the mean of it.

The threshold at a false-alarm rate a is the score with rank ceil((n + 1)(1 - a)) among n good pictures that the model
was not trained on: a new good picture exceeds it with a probability of at most a (split conformal prediction, Vovk et
al. 2005). With neighbours of either kind each of the n is scored without what the memory has of itself, where this
holds nearly.
"""

from .excess import Excess, check
from .fitting import fit
from .neighbours import Aligned, Neighbours
from .scores import QUANTILES, Scorer, quantiles, threshold

__all__ = ["QUANTILES", "Aligned", "Excess", "Neighbours", "Scorer", "check", "fit", "quantiles", "threshold"]
