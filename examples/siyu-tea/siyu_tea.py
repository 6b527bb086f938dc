"""Tea lovers: a plugin in a package of its own."""

import siyu
from siyu import Count, DaysSince, Field, Segmenter, Tag, hookimpl


class TeaRunningOut(Segmenter):
    class Params(siyu.Params):
        tin_days: int = Field(45, ge=7, le=180, title="一罐喝几天")

    last_tin = DaysSince("order.paid", where={"category": "TEAS"})
    tins = Count("order.paid", where={"category": "TEAS"}, days=365)

    def tags(self, p):
        yield Tag(
            "tea.running_out",
            "快喝完了",
            when=(self.last_tin >= p.tin_days) & (self.tins >= 2),
            because="last tin {last_tin} days ago, {tins} this year; a tin lasts {tin_days}",
        )


@hookimpl
def siyu_segmenters():
    return [TeaRunningOut]
