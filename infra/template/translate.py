"""The SAM template as CloudFormation gets it. The SAM translator runs offline."""

import logging
from pathlib import Path
from typing import Any

from infra.template.read import read_yaml, values_of
from streamgage.errors import ConfigError

REGION = "us-east-1"  # of what runs on this machine; the translator wants one too


def translate(path: Path) -> dict[str, Any]:
    """Return the SAM template at *path* as CloudFormation gets it, its expressions as they are.

    Raises:
        ConfigError: it cannot be read, or the translator refuses it.
    """
    # Imported here: the translator takes half a second, and only `up` needs it.
    import boto3  # noqa: PLC0415 - see above
    from samtranslator.parser.parser import Parser  # noqa: PLC0415 - see above
    from samtranslator.sdk.resource import SamResourceType  # noqa: F401, PLC0415 - loads the translator's plugins
    from samtranslator.translator.translator import Translator  # noqa: PLC0415 - see above

    # It warns of feature toggles that only the service itself has.
    logging.getLogger("samtranslator").setLevel(logging.ERROR)
    root = read_yaml(path)
    try:
        template = values_of(root)
        for each in template["Resources"].values():
            if (
                each["Type"] == "AWS::Serverless::Function"
            ):  # the translator wants a place in S3; locally it is a folder
                each["Properties"]["CodeUri"] = "s3://local/bundle"
        translator = Translator({}, Parser(), boto_session=boto3.Session(region_name=REGION))
        translated: dict[str, Any] = translator.translate(template, {})
    except Exception as error:  # the translator raises many kinds, each about the template
        raise ConfigError(f"{path}: not a SAM template that can be translated: {error}") from error
    return translated
