"""Ctrl-C between any two lines of the producer: each event was taken whole or not at all, and none is lost or counted twice."""

import json
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

from processors.pipeline_files import load_pipeline
from producers.client.batcher import BatcherConfig
from producers.client.entry import PutEntry
from producers.client.identity import Identity
from producers.client.outbox import RetryConfig
from producers.client.producer import Producer, ProducerConfig
from streamgage.errors import DeliveryError
from streamgage.formats.blocks.reader import read_block
from streamgage.records import SealedRecord, UserRecord
from support.counting import CountingStream
from support.paths import ROOT

SOURCE = load_pipeline(ROOT / "pipeline.toml").sources["reading"]
CODE = ("/producers/client/", "/streamgage/formats/kpl_builder.py", "/streamgage/formats/blocks/builder.py")
