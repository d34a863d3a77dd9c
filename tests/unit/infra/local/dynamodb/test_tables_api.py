"""What the tables' engine answers, where no judge is needed. What DynamoDB Local says: test_dynamodb_differential.py."""

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.local.dynamodb import numbers
from support.local_tables import TABLE, Refused, Tables, insert, key, update


@pytest.fixture
def tables() -> Iterator[Tables]:
    opened = Tables()
    yield opened
    opened.close()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["aggregates", "pk", "a = :a", "1"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["S", "N", "B", "pk", "sk", ":a", "aggregates", "Keys", "Statement"]), inner
        )
    ),
    max_leaves=8,
)


class TestStatements:
    def test_each_statement_stands_for_itself(self, tables: Tables) -> None:
        tables.put("a", fence={"S": "1"})
        responses = tables.batch([insert("new", "5"), insert("a", "5")])
        assert responses == [
            {"TableName": TABLE},
            {
                "Error": {
                    "Code": "DuplicateItem",
                    "Message": "Duplicate primary key exists in table",
                },
                "TableName": TABLE,
            },
        ]
        moved, unknown, absent = tables.batch(
            [update("a", "2", "9"), ("SELECT nothing", []), update("gone", "2", "1")]
        )
        assert moved["Error"]["Code"] == "ConditionalCheckFailed"
        assert moved["Error"]["Item"] == {**key("a"), "fence": {"S": "1"}}
        assert unknown["Error"]["Code"] == "ValidationError"
        assert "'SELECT nothing'" in unknown["Error"]["Message"]
        assert absent["Error"]["Code"] == "ConditionalCheckFailed"
        assert "Item" not in absent["Error"]
        assert [tables.get(each) for each in ("a", "gone")] == [{**key("a"), "fence": {"S": "1"}}, None]

    def test_two_statements_on_one_item_are_refused_before_either_takes_effect(self, tables: Tables) -> None:
        with pytest.raises(Refused, match="contains duplicates"):
            tables.batch([insert("b", "1"), insert("a", "1"), update("a", "2", "1")])
        assert [tables.get(each) for each in "ab"] == [None, None]

    def test_a_parameter_that_is_no_value_refuses_the_whole_request(self, tables: Tables) -> None:
        text, parameters = insert("b", "1")
        with pytest.raises(Refused, match="cannot be converted into a number"):
            tables.batch([insert("a", "1"), (text, [*parameters[:2], {"N": "x"}])])
        assert tables.get("a") is None

    @pytest.mark.parametrize(
        "text",
        [
            'DELETE FROM "aggregates" WHERE "pk"=?',
            "SELECT * FROM aggregates",
            "INSERT INTO \"aggregates\" VALUE {'pk':'literal'}",
            "INSERT INTO \"aggregates\" VALUE {'pk':?} RETURNING ALL OLD *",
            'UPDATE "aggregates" REMOVE "x" WHERE "pk"=?',
            'UPDATE "aggregates" SET "x"="y" WHERE "pk"=?',
            'UPDATE "aggregates" SET "x"=? WHERE "pk"=? OR "sk"=?',
            'UPDATE "aggregates"',
            "",
        ],
    )  # fmt: skip
    def test_a_statement_that_is_none_of_ours_is_refused_by_what_it_says(
        self, tables: Tables, text: str
    ) -> None:
        with pytest.raises(Refused, match=r"this engine carries out INSERT|The statement was empty"):
            tables("ExecuteStatement", Statement=text, Parameters=[])

    def test_units_are_those_of_the_larger_of_the_item_before_and_after(self, tables: Tables) -> None:
        tables.put("a", fence={"S": "1"}, filler={"S": "x" * 3000})
        answer = tables(
            "BatchExecuteStatement",
            ReturnConsumedCapacity="TOTAL",
            Statements=[
                {"Statement": text, "Parameters": parameters}
                for text, parameters in (update("a", "2", "1"), update("b", "2", "1"), insert("c", "1"))
            ],
        )
        assert answer["ConsumedCapacity"] == [{"TableName": TABLE, "CapacityUnits": 4.0}]

    def test_a_set_attribute_counts_once_in_the_size_whether_it_was_there_or_not(
        self, tables: Tables
    ) -> None:
        tables.put("a", fence={"S": "1"})
        for before, text in enumerate(["x" * 50, "", "ü" * 7], start=1):
            tables.batch(
                [
                    (
                        'UPDATE "aggregates" SET "fence"=? SET "größe"=? WHERE "pk"=? AND "sk"=? AND "fence"=?',
                        [{"S": str(before + 1)}, {"S": text}, {"S": "a"}, {"S": "s"}, {"S": str(before)}],
                    )
                ]
            )
            item = {**key("a"), "fence": {"S": str(before + 1)}, "größe": {"S": text}}
            assert tables.get("a") == item
            size = sum(len(name.encode()) + len(value["S"].encode()) for name, value in item.items())
            assert tables("DescribeTable", TableName=TABLE)["Table"]["TableSizeBytes"] == size


class TestWhatIsNotCarriedOut:
    @pytest.mark.parametrize(
        "operation", ["TransactWriteItems", "CreateBackup", "TagResource", "Nonsense", ""]
    )
    def test_an_operation_is_refused_by_its_name(self, tables: Tables, operation: str) -> None:
        with pytest.raises(Refused, match=rf"UnknownOperationException: .*{operation}"):
            tables(operation)

    def test_a_target_of_another_service_is_refused(self, tables: Tables) -> None:
        status, body = tables.api.handle("DynamoDBStreams_20120810.GetItem", b"{}")
        assert (status, json.loads(body)["__type"].rpartition("#")[2]) == (400, "UnknownOperationException")

    @pytest.mark.parametrize(
        ("operation", "name", "value"),
        [
            ("GetItem", "AttributesToGet", ["a"]),
            ("PutItem", "Expected", {"a": {"Exists": False}}),
            ("UpdateItem", "AttributeUpdates", {"a": {}}),
            ("Query", "KeyConditions", {"pk": {}}),
            ("Scan", "TotalSegments", 4),
            ("Scan", "ScanFilter", {"a": {}}),
            ("BatchWriteItem", "ReturnItemCollectionMetrics", "SIZE"),
            ("CreateTable", "GlobalSecondaryIndexes", [{}]),
        ],
    )
    def test_a_parameter_is_refused_by_its_name(
        self, tables: Tables, operation: str, name: str, value: Any
    ) -> None:
        with pytest.raises(Refused, match=f"ValidationException: {name} is not carried out"):
            tables(operation, TableName=TABLE, **{name: value})


class TestHostileBodies:
    @pytest.mark.parametrize(
        "body",
        [
            b"", b"{", b"[]", b"null", b"5", b'"x"', b"\xff", b"[" * 100_000, b'{"TableName":5}', b'{"TableName":["x"]}',
            b'{"TableName":"aggregates","Item":[]}', b'{"TableName":"aggregates","Item":{"pk":5}}',
            b'{"TableName":"aggregates","Item":{"pk":{"S":5},"sk":{"S":"s"}}}',
            b'{"TableName":"aggregates","Item":{"pk":{"S":"\\ud800"},"sk":{"S":"s"}}}',
            b'{"TableName":"aggregates","Item":{"pk":{"S":"a"},"sk":{"S":"s"},"x":{"B":"*"}}}',
            b'{"TableName":"aggregates","Item":{"pk":{"S":"a"},"sk":{"S":"s"},"x":{"N":1}}}',
            b'{"TableName":"aggregates","Item":{"pk":{"S":"a"},"sk":{"S":"s"},"x":{"BOOL":"true"}}}',
            b'{"TableName":"aggregates","Item":{"pk":{"S":"a"},"sk":{"S":"s"},"x":{"L":{}}}}',
            b'{"TableName":"aggregates","Item":{"pk":{"S":"a"},"sk":{"S":"s"},"x":{"M":[]}}}',
            b'{"TableName":"aggregates","Item":{"pk":{"S":"a"},"sk":{"S":"s"},"x":{"SS":[5]}}}',
            b'{"TableName":"aggregates","Item":{"pk":{"S":"a"},"sk":{"S":"s"}},"ConditionExpression":5}',
            b'{"TableName":"aggregates","Item":{"pk":{"S":"a"},"sk":{"S":"s"}},"ExpressionAttributeNames":{"#a":5}}',
        ],
    )  # fmt: skip
    def test_a_body_that_is_no_request_is_refused_and_the_engine_goes_on(
        self, tables: Tables, body: bytes
    ) -> None:
        with pytest.raises(Refused) as refused:
            tables.raw("PutItem", body)
        assert refused.value.status == 400
        tables.put("a")
        assert tables.get("a") == key("a")

    @pytest.mark.parametrize(
        "text", ["(" * 2000 + "a = :a" + ")" * 2000, "NOT " * 1000 + "a = :a", "a = :a" + " AND a = :a" * 370, "#"]
    )  # fmt: skip
    def test_an_expression_that_is_deep_or_long_is_refused(self, tables: Tables, text: str) -> None:
        with pytest.raises(Refused, match="Invalid ConditionExpression"):
            tables(
                "PutItem",
                TableName=TABLE,
                Item=key("a"),
                ConditionExpression=text,
                ExpressionAttributeValues={":a": {"S": ""}},
            )

    @given(
        st.dictionaries(
            st.sampled_from(
                ["TableName", "Key", "Item", "Keys", "RequestItems", "Statements", "Limit", "ConditionExpression",
                 "KeyConditionExpression", "UpdateExpression", "ExpressionAttributeValues", "Parameters"]
            ),
            JSON,
        )
    )  # fmt: skip
    def test_no_json_is_the_engines_own_failure(self, request_: dict[str, Any]) -> None:
        for operation in ENGINE.api._operations:
            status, answer = ENGINE.api.handle(operation, json.dumps(request_).encode())
            assert status in (200, 400), (operation, answer)


ENGINE = Tables()


class TestNumbers:
    def test_their_bytes_sort_as_they_do(self) -> None:
        digits, exponents = range(-130, 131), (-130, -20, -2, -1, 0, 1, 2, 20, 123)
        texts = {numbers.canonical(f"{each}e{exponent}") for each in digits for exponent in exponents}
        assert sorted(texts, key=numbers.sortable) == sorted(texts, key=Decimal)

    @pytest.mark.parametrize(
        ("text", "canonical"),
        [
            ("1.0", "1"), ("-0", "0"), ("007", "7"), ("1e3", "1000"), (".5", "0.5"), ("5.", "5"), ("+5", "5"),
            ("1e-3", "0.001"), ("-1.50", "-1.5"), ("12e-1", "1.2"), ("0.000", "0"), ("1" + "0" * 125, "1" + "0" * 125),
        ],
    )  # fmt: skip
    def test_each_has_one_text(self, text: str, canonical: str) -> None:
        assert numbers.canonical(text) == canonical
        assert numbers.canonical(canonical) == canonical


class TestTimeToLive:
    TTL = {"TableName": TABLE, "TimeToLiveSpecification": {"Enabled": True, "AttributeName": "expires"}}  # noqa: RUF012 - a constant

    def expired(self, tables: Tables, now_s: int) -> int:
        from infra.local.dynamodb.expiry import sweep

        return sweep(tables.store, now_s=now_s)

    def test_an_item_is_deleted_once_its_time_has_come(self, tables: Tables) -> None:
        tables("UpdateTimeToLive", **self.TTL)
        tables.put("a", expires={"N": "2000000000"})
        tables.put("b", expires={"N": "2000000001"})
        tables.put("text", expires={"S": "1"})
        tables.put("none")
        assert self.expired(tables, 1_999_999_999) == 0
        assert self.expired(tables, 2_000_000_000) == 1
        assert [tables.get(each) is None for each in ("a", "b", "text", "none")] == [
            True,
            False,
            False,
            False,
        ]

    def test_an_item_that_is_written_again_lives_on(self, tables: Tables) -> None:
        tables("UpdateTimeToLive", **self.TTL)
        tables.put("a", expires={"N": "2000000000"})
        tables.put("a", expires={"N": "2000000500"})
        tables.put("b", expires={"N": "2000000000"})
        tables.put("b")
        assert self.expired(tables, 2_000_000_100) == 0

    def test_items_that_were_there_before_expire_too_and_none_once_it_is_disabled(
        self, tables: Tables
    ) -> None:
        tables.put("a", expires={"N": "2000000000"})
        assert self.expired(tables, 2_000_000_000) == 0
        tables("UpdateTimeToLive", **self.TTL)
        off = {**self.TTL["TimeToLiveSpecification"], "Enabled": False}  # type: ignore[dict-item]
        tables("UpdateTimeToLive", TableName=TABLE, TimeToLiveSpecification=off)
        assert self.expired(tables, 2_000_000_000) == 0
        tables("UpdateTimeToLive", **self.TTL)
        assert self.expired(tables, 2_000_000_000) == 1

    def test_what_expired_more_than_five_years_ago_is_kept(self, tables: Tables) -> None:
        tables("UpdateTimeToLive", **self.TTL)
        tables.put("a", expires={"N": "5"})
        assert self.expired(tables, 2_000_000_000) == 0

    def test_more_than_a_batch_is_deleted_and_a_sweep_is_bounded(self, tables: Tables) -> None:
        from infra.local.dynamodb.expiry import BATCH, sweep

        tables("UpdateTimeToLive", **self.TTL)
        for start in range(0, BATCH * 2 + 100, 25):
            writes = [
                {"PutRequest": {"Item": {**key(str(start + n)), "expires": {"N": "2000000000"}}}}
                for n in range(25)
            ]
            tables("BatchWriteItem", RequestItems={TABLE: writes})
        assert sweep(tables.store, now_s=2_000_000_000, batches=1) == BATCH
        assert sweep(tables.store, now_s=2_000_000_000) == BATCH + 100
