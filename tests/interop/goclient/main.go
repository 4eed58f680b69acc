// Boskos's published Go packages used against a server: the client with every method it exports, Mason's client, and the
// mason and the cleaner, whose life cycles come from memory here and not from Kubernetes.
//
//	goclient config               prints the config that the server must have
//	goclient run URL SERVER       tries everything; SERVER is ours or original
//
// A line for each trial: "pass" or "FAIL", its name, and a note or the reason, apart by tabs. Newlines in them are spaces.
package main

import (
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	"sigs.k8s.io/boskos/client"
	"sigs.k8s.io/boskos/common"
)

// One trial has a type of its own with the names TYPE-1 and TYPE-2, both free.
type trial struct {
	name   string
	run    func(*trial)
	url    string
	isOurs bool
	rtype  string
	note   string
}

type failure struct{ text string }

func (t *trial) failf(format string, values ...any) {
	panic(failure{fmt.Sprintf(format, values...)})
}

func (t *trial) must(err error) {
	if err != nil {
		t.failf("unexpected error: %v", err)
	}
}

// equal holds two values against each other as they are printed.
func (t *trial) equal(what string, found, wanted any) {
	if f, w := fmt.Sprintf("%v", found), fmt.Sprintf("%v", wanted); f != w {
		t.failf("%s: found %s, expected %s", what, f, w)
	}
}

// refused wants an error whose text holds all the texts.
func (t *trial) refused(err error, texts ...string) {
	if err == nil {
		t.failf("no error, expected one with %q", texts)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.failf("error %q, expected %q in it", err, text)
		}
	}
}

func (t *trial) one() string { return t.rtype + "-1" }
func (t *trial) two() string { return t.rtype + "-2" }

func (t *trial) client(owner string) *client.Client {
	c, err := client.NewClient(owner, t.url, "", "")
	t.must(err)
	return c
}

// acquire takes a free one of the trial's type.
func (t *trial) acquire(c *client.Client) *common.Resource {
	r, err := c.Acquire(t.rtype, common.Free, common.Busy)
	t.must(err)
	return r
}

// counts holds the type's metric against what is expected, as "free=1 busy=1 / ann=1".
func (t *trial) counts(wanted string) {
	t.countsOf(t.rtype, wanted)
}

func (t *trial) countsOf(rtype, wanted string) {
	m, err := t.client("looker").Metric(rtype)
	t.must(err)
	if found := shown(m); found != wanted {
		t.failf("metric of %s: found %s, expected %s", rtype, found, wanted)
	}
}

func shown(m common.Metric) string {
	var states, owners []string
	for _, s := range []string{common.Free, common.Busy, common.Dirty, common.Cleaning, common.Leased, "odd"} {
		if m.Current[s] != 0 {
			states = append(states, fmt.Sprintf("%s=%d", s, m.Current[s]))
		}
	}
	for _, o := range []string{"ann", "bob"} {
		if m.Owners[o] != 0 {
			owners = append(owners, fmt.Sprintf("%s=%d", o, m.Owners[o]))
		}
	}
	return strings.Join(states, " ") + " / " + strings.Join(owners, " ")
}

// eventually waits until check is true.
func (t *trial) eventually(what string, check func() bool) {
	for end := time.Now().Add(30 * time.Second); !check(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.failf("waited in vain: %s", what)
		}
	}
}

func (t *trial) attempt() (line string) {
	plain := strings.NewReplacer("\n", " ", "\t", " ")
	defer func() {
		switch f := recover().(type) {
		case nil:
			line = "pass\t" + t.name + "\t" + plain.Replace(t.note)
		case failure:
			line = "FAIL\t" + t.name + "\t" + plain.Replace(f.text)
		default:
			line = "FAIL\t" + t.name + "\t" + plain.Replace(fmt.Sprintf("%v %s", f, debug.Stack()))
		}
	}()
	t.run(t)
	return
}

func all() []*trial {
	trials := append(clientTrials(), masonTrials()...)
	for i, t := range trials {
		t.rtype = fmt.Sprintf("go-%d", i)
	}
	return trials
}

func printConfig() {
	fmt.Println("resources:")
	for _, t := range all() {
		fmt.Printf("- {type: %s, state: free, names: [%s, %s]}\n", t.rtype, t.one(), t.two())
	}
	fmt.Print(masonConfig)
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == "config" {
		printConfig()
		return
	}
	if len(os.Args) != 4 || os.Args[1] != "run" {
		fmt.Fprintln(os.Stderr, "usage: goclient config | goclient run URL ours|original")
		os.Exit(2)
	}
	logrus.SetOutput(os.Stderr)
	// The client repeats what was refused after 1, 4 and 9 s; it lets tests change that.
	client.SleepFunc = func(time.Duration) { time.Sleep(10 * time.Millisecond) }

	var group sync.WaitGroup
	var lock sync.Mutex
	for _, t := range all() {
		t.url, t.isOurs = os.Args[2], os.Args[3] == "ours"
		group.Add(1)
		go func() {
			defer group.Done()
			lines := make(chan string, 1)
			go func() { lines <- t.attempt() }()
			line := "FAIL\t" + t.name + "\tnot done after 90 s"
			select {
			case line = <-lines:
			case <-time.After(90 * time.Second):
			}
			lock.Lock()
			defer lock.Unlock()
			fmt.Println(line)
		}()
	}
	group.Wait()
}
