// Writes what agents put on a stream, with the encoders that they use: a line of JSON for each record.
//
// The Collector's awskinesis exporter marshals by pdata, and compresses by the standard library; InfluxDB's clients write line
// protocol by influxdata/line-protocol.
package main

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/json"
	"io"
	"os"
	"time"

	"github.com/influxdata/line-protocol/v2/lineprotocol"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
)

var at = time.UnixMilli(1767614400000).UTC()

type record struct {
	Name string `json:"name"`
	Data []byte `json:"data"`
}

func main() {
	out := json.NewEncoder(os.Stdout)
	write := func(name string, data []byte, err error) {
		if err != nil {
			panic(err)
		}
		if err := out.Encode(record{name, data}); err != nil {
			panic(err)
		}
	}
	write("line protocol", lines(), nil)
	made := metrics()
	proto, err := (&pmetric.ProtoMarshaler{}).MarshalMetrics(made)
	write("otlp_proto", proto, err)
	write("otlp_proto gzip", packed(proto, func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }), nil)
	write("otlp_proto zlib", packed(proto, func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) }), nil)
	text, err := (&pmetric.JSONMarshaler{}).MarshalMetrics(made)
	write("otlp_json", text, err)
}

func packed(data []byte, open func(io.Writer) io.WriteCloser) []byte {
	var held bytes.Buffer
	writer := open(&held)
	if _, err := writer.Write(data); err != nil {
		panic(err)
	}
	if err := writer.Close(); err != nil {
		panic(err)
	}
	return held.Bytes()
}

func lines() []byte {
	var encoder lineprotocol.Encoder
	encoder.SetPrecision(lineprotocol.Nanosecond)
	field := func(name string, value any) { encoder.AddField(name, lineprotocol.MustNewValue(value)) }
	encoder.StartLine("weather")
	encoder.AddTag("host", `a b,c=d\e"f`)
	encoder.AddTag("ort", "Köln")
	field("a float", 20.5)
	field("int", int64(-1<<63))
	field("uint", uint64(1<<64-1))
	field("tiny", 5e-324)
	encoder.EndLine(at)
	encoder.StartLine("weather")
	encoder.AddTag("host", "x")
	field("text", "say \"hi\", \\ a=b\nnext line")
	field("yes", true)
	field("one", int64(1))
	encoder.EndLine(at.Add(1999999))
	if err := encoder.Err(); err != nil {
		panic(err)
	}
	return encoder.Bytes()
}

func metrics() pmetric.Metrics {
	made := pmetric.NewMetrics()
	resource := made.ResourceMetrics().AppendEmpty()
	resource.Resource().Attributes().PutStr("host.name", "é-1")
	resource.Resource().Attributes().PutInt("host.cpus", 4)
	scope := resource.ScopeMetrics().AppendEmpty()
	scope.Scope().SetName("s")
	point := func(points pmetric.NumberDataPointSlice) pmetric.NumberDataPoint {
		each := points.AppendEmpty()
		each.SetTimestamp(pcommon.NewTimestampFromTime(at))
		each.Attributes().PutStr("host", "h")
		return each
	}
	gauge := scope.Metrics().AppendEmpty()
	gauge.SetName("temp")
	gauge.SetUnit("Cel")
	held := gauge.SetEmptyGauge().DataPoints()
	point(held).SetDoubleValue(20.5)
	point(held).SetIntValue(-3)
	stale := point(held)
	stale.SetFlags(pmetric.DefaultDataPointFlags.WithNoRecordedValue(true))
	for _, temporality := range []pmetric.AggregationTemporality{
		pmetric.AggregationTemporalityDelta, pmetric.AggregationTemporalityCumulative,
	} {
		sum := scope.Metrics().AppendEmpty()
		sum.SetName("hits")
		sum.SetEmptySum().SetAggregationTemporality(temporality)
		sum.Sum().SetIsMonotonic(true)
		point(sum.Sum().DataPoints()).SetIntValue(7)
	}
	latency := resource.ScopeMetrics().AppendEmpty()
	latency.Scope().SetName("latency")
	exponential := latency.Metrics().AppendEmpty()
	exponential.SetName("took")
	exponential.SetUnit("s")
	exponential.SetEmptyExponentialHistogram().SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
	took := exponential.ExponentialHistogram().DataPoints().AppendEmpty()
	took.SetTimestamp(pcommon.NewTimestampFromTime(at))
	took.SetCount(3)
	took.SetSum(4.5)
	took.SetScale(5)
	took.Positive().SetOffset(-7)
	took.Positive().BucketCounts().FromRaw([]uint64{1, 0, 2})
	explicit := latency.Metrics().AppendEmpty()
	explicit.SetName("size")
	explicit.SetUnit("By")
	explicit.SetEmptyHistogram().SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
	size := explicit.Histogram().DataPoints().AppendEmpty()
	size.SetTimestamp(pcommon.NewTimestampFromTime(at))
	size.SetCount(2)
	size.SetSum(10)
	size.ExplicitBounds().FromRaw([]float64{5})
	size.BucketCounts().FromRaw([]uint64{1, 1})
	return made
}
