// Command kpa runs traces through the autoscaler of Knative Serving and prints what it decides, tick by tick.
// It reads a JSON array of traces from standard input and writes a JSON array of runs.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric/noop"
	"go.uber.org/zap"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	autoscalingv1alpha1 "knative.dev/serving/pkg/apis/autoscaling/v1alpha1"
	"knative.dev/serving/pkg/autoscaler/config"
	"knative.dev/serving/pkg/autoscaler/metrics"
	"knative.dev/serving/pkg/autoscaler/scaling"
	kparesources "knative.dev/serving/pkg/reconciler/autoscaling/kpa/resources"
	"knative.dev/serving/pkg/reconciler/autoscaling/resources"
)

type trace struct {
	// Annotations and ContainerConcurrency are the revision's, Config is config-autoscaler.
	Annotations          map[string]string
	ContainerConcurrency int64
	Config               map[string]string
	Unreachable          bool
	// Base is the time in milliseconds that steps count from; 0 is the program's own time.
	Base int64
	// Ready is the number of pods when the autoscaler is made.
	Ready int
	Steps []step
}

// A step records Value (if Record) and then decides (if Tick), both at Base+At.
type step struct {
	At     int64
	Record bool
	Value  float64
	Tick   bool
	Ready  int
}

type run struct {
	Base    int64    `json:"base"`
	Target  float64  `json:"target"`
	Total   float64  `json:"total"`
	PanicMs int64    `json:"panicMs"`
	Ticks   []result `json:"ticks"`
}

type result struct {
	Valid   bool    `json:"valid"`
	Stable  float64 `json:"stable"`
	Panic   float64 `json:"panic"`
	Desired int32   `json:"desired"`
	Excess  int32   `json:"excess"`
}

type pods struct{ ready int }

func (p *pods) ReadyCount() (int, error)    { return p.ready, nil }
func (p *pods) NotReadyCount() (int, error) { return 0, nil }

// The metrics are recorded by hand; nothing is scraped.
type noScraper struct{}

func (noScraper) Scrape(time.Duration) (metrics.Stat, error) { return metrics.Stat{}, nil }

func main() {
	var traces []trace
	if err := json.NewDecoder(os.Stdin).Decode(&traces); err != nil {
		fail(err)
	}
	runs := make([]run, 0, len(traces))
	for _, t := range traces {
		r, err := play(t)
		if err != nil {
			fail(err)
		}
		runs = append(runs, r)
	}
	if err := json.NewEncoder(os.Stdout).Encode(runs); err != nil {
		fail(err)
	}
}

func play(t trace) (run, error) {
	settings, err := config.NewConfigFromMap(t.Config)
	if err != nil {
		return run{}, err
	}
	key := types.NamespacedName{Namespace: "default", Name: "revision"}
	pa := &autoscalingv1alpha1.PodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name, Annotations: t.Annotations},
		Spec:       autoscalingv1alpha1.PodAutoscalerSpec{ContainerConcurrency: t.ContainerConcurrency},
	}
	if t.Unreachable {
		pa.Spec.Reachability = autoscalingv1alpha1.ReachabilityUnreachable
	} else {
		pa.Spec.Reachability = autoscalingv1alpha1.ReachabilityReachable
	}
	logger := zap.NewNop().Sugar()
	collector := metrics.NewMetricCollector(
		func(*autoscalingv1alpha1.Metric, *zap.SugaredLogger) (metrics.StatsScraper, error) {
			return noScraper{}, nil
		},
		logger)
	metric := resources.MakeMetric(pa, "pods", settings)
	if err := collector.CreateOrUpdate(metric); err != nil {
		return run{}, err
	}
	defer collector.Delete(key.Namespace, key.Name)

	decider := kparesources.MakeDecider(pa, settings)
	base := t.Base
	if base == 0 {
		base = time.Now().UnixMilli()
	}
	counter := &pods{t.Ready}
	scaler := scaling.New(*attribute.EmptySet(), noop.NewMeterProvider(), key.Namespace, key.Name,
		collector, counter, &decider.Spec)

	r := run{
		Base:    base,
		Target:  decider.Spec.TargetValue,
		Total:   decider.Spec.TotalValue,
		PanicMs: metric.Spec.PanicWindow.Milliseconds(),
		Ticks:   []result{},
	}
	rps := decider.Spec.ScalingMetric == "rps"
	for _, s := range t.Steps {
		now := time.UnixMilli(base + s.At)
		if s.Record {
			stat := metrics.Stat{AverageConcurrentRequests: s.Value}
			if rps {
				stat = metrics.Stat{RequestCount: s.Value}
			}
			collector.Record(key, now, stat)
		}
		if !s.Tick {
			continue
		}
		counter.ready = s.Ready
		read := collector.StableAndPanicConcurrency
		if rps {
			read = collector.StableAndPanicRPS
		}
		stable, surge, err := read(key, now)
		if err != nil && !errors.Is(err, metrics.ErrNoData) {
			return run{}, err
		}
		got := scaler.Scale(logger, now)
		r.Ticks = append(r.Ticks, result{got.ScaleValid, stable, surge, got.DesiredPodCount, got.ExcessBurstCapacity})
	}
	return r, nil
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
