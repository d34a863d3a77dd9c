// A Telegraf of the plugins that the tests use: its own agent and configuration, in place of the 300 MB with every plugin.
package main

import (
	"context"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/influxdata/telegraf/agent"
	"github.com/influxdata/telegraf/config"
	"github.com/influxdata/telegraf/logger"
	_ "github.com/influxdata/telegraf/plugins/inputs/socket_listener"
	_ "github.com/influxdata/telegraf/plugins/outputs/influxdb_v2"
	_ "github.com/influxdata/telegraf/plugins/outputs/kinesis"
	_ "github.com/influxdata/telegraf/plugins/parsers/influx"
	_ "github.com/influxdata/telegraf/plugins/serializers/influx"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	loaded := config.NewConfig()
	if err := loaded.LoadAll(os.Args[1]); err != nil {
		log.Fatal(err)
	}
	if err := logger.SetupLogging(&logger.Config{Debug: loaded.Agent.Debug}); err != nil {
		log.Fatal(err)
	}
	if err := agent.NewAgent(loaded).Run(ctx); err != nil {
		log.Fatal(err)
	}
}
