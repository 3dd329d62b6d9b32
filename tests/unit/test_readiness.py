import pytest

from idr.readiness import problems


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ({"idr-proxy": [], "idr-omero": []}, []),
        ({"idr-proxy": []}, ["idr-omero: its minion doesn't answer"]),
        ({"idr-proxy": [], "idr-omero": False}, ["idr-omero: its minion doesn't answer"]),
        ({"idr-proxy": ["idr-proxy: volume cache: no"], "idr-omero": ["idr-omero: pillar: bad"]},
         ["idr-omero: pil", "idr-proxy: vol"]),
        ({"idr-proxy": [], "idr-omero": "'readiness.problems' is not available."}, ["idr-omero: 'readiness.problems'"]),
    ],
)  # fmt: skip
def test_every_answer_that_is_not_a_plain_yes_is_a_problem(answers, said):
    found = problems(["idr-proxy", "idr-omero"], answers)

    assert len(found) == len(said)
    assert all(line.startswith(start) for line, start in zip(found, said, strict=True))
