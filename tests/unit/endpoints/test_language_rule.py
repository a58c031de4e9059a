"""Unit tests of `LANGUAGE` in the section of an endpoint that knows some languages only."""

from __future__ import annotations

import pytest

from basic_inference_server import FlaskWorker
from basic_inference_server.testing import WorkerHarness
from basic_inference_server.worker.load_error import EndpointLoadError
from endpoints.basic_quiz_model import BasicQuizModelWorker
from endpoints.entity_fishing import EntityFishingWorker
from endpoints.get_aprox import GetAproxWorker
from endpoints.get_conf import GetConfWorker
from endpoints.get_qa import GetQaWorker
from endpoints.get_sim import GetSimWorker
from endpoints.get_tags import GetTagsWorker
from endpoints.keywords import KeywordsWorker
from endpoints.summarization import SummarizationWorker


@pytest.mark.parametrize(
    "worker",
    [
        BasicQuizModelWorker, EntityFishingWorker, GetAproxWorker, GetConfWorker, GetQaWorker,
        GetSimWorker, GetTagsWorker, KeywordsWorker, SummarizationWorker,
    ],
)  # fmt: skip
@pytest.mark.parametrize("language", ["fr", "", None, 5])
def test_unknown_language_is_refused_for_good(worker: type[FlaskWorker], language: object) -> None:
    """Before a model is loaded, and nothing tries it again."""
    with pytest.raises(EndpointLoadError, match=r"LANGUAGE is .* breaks INCLUDED_LIST \[") as error:
        WorkerHarness(worker, {"LANGUAGE": language})
    assert error.value.is_permanent
