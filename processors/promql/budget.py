"""How much one request may compute, whatever it is: points of series, samples gone through, steps of regular expressions."""

from dataclasses import dataclass

from processors.promql.errors import execution

MOST_POINTS = 5_000_000  # one to two seconds


@dataclass(slots=True)
class Budget:
    """What is left of it, in points: about 0.3 µs each."""

    points: int = MOST_POINTS

    def take(self, points: int) -> None:
        """Use some of it. Raises: QueryError ``execution``, it is used up."""
        self.points -= points
        if self.points < 0:
            raise execution(
                f"query processing would load too many samples into memory in query execution, or take too many steps of regular "
                f"expressions: more than {MOST_POINTS:,}; ask for fewer series, a larger step, a shorter range, or by simpler patterns"
            )
