// The trials of sigs.k8s.io/boskos/mason and .../cleaner: a dynamic resource from dirty to free, leased as a whole, and
// its end.
package main

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"
	"time"

	v1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/boskos/cleaner"
	"sigs.k8s.io/boskos/common"
	"sigs.k8s.io/boskos/crds"
	"sigs.k8s.io/boskos/mason"
)

// A trial of its own for each pair of types.
const masonConfig = `- {type: m-node, state: free, names: [m-node-1, m-node-2, m-node-3]}
- {type: m-cluster, state: dirty, min-count: 1, max-count: 1, needs: {m-node: 2}, config: {type: test, content: "built"}}
- {type: f-node, state: free, names: [f-node-1]}
- {type: f-cluster, state: dirty, min-count: 1, max-count: 1, needs: {f-node: 1}, config: {type: broken, content: ""}}
- {type: c-node, state: free, names: [c-node-1, c-node-2]}
- {type: c-cluster, state: free, min-count: 1, max-count: 1, needs: {c-node: 2}, config: {type: test, content: ""}}
`

func masonTrials() []*trial {
	return []*trial{
		{name: "mason: builds, and its client takes and gives back the whole", run: tryMason},
		{name: "mason: what it leased is dirty after a failure", run: tryMasonFailing},
		{name: "cleaner: from toBeDeleted to the end", run: tryCleaner},
	}
}

// Life cycles in memory: what the mason and the cleaner ask Kubernetes for.
type lifeCycles []crds.DRLCObject

func lifeCycle(name, kind, content string, needs common.ResourceNeeds) lifeCycles {
	return lifeCycles{{ObjectMeta: v1.ObjectMeta{Name: name}, Spec: crds.DRLCSpec{InitialState: common.Dirty, MinCount: 1,
		MaxCount: 1, Config: common.ConfigType{Type: kind, Content: content}, Needs: needs}}}
}

func (l lifeCycles) GetDynamicResourceLifeCycles() (*crds.DRLCObjectList, error) {
	return &crds.DRLCObjectList{Items: l}, nil
}

func (l lifeCycles) GetDynamicResourceLifeCycle(name string) (*crds.DRLCObject, error) {
	for i := range l {
		if l[i].Name == name {
			return &l[i], nil
		}
	}
	return nil, fmt.Errorf("no life cycle %s", name)
}

// A builder that stores its content, or fails without one.
type builder string

func (b builder) Construct(_ context.Context, _ common.Resource, leased common.TypeToResources) (*common.UserData, error) {
	if b == "" {
		return nil, errors.New("it cannot be built")
	}
	count := 0
	for _, list := range leased {
		count += len(list)
	}
	return common.UserDataFromMap(common.UserDataMap{"made": string(b), "of": fmt.Sprint(count)}), nil
}

// startMason starts a mason that goes on until the process ends: its Stop waits for ever when a thread of it is handing
// a resource on just then.
func (t *trial) startMason(l lifeCycles) {
	m := mason.NewMason(2, t.client("mason"), 100*time.Millisecond, 200*time.Millisecond, l)
	t.must(m.RegisterConfigConverter(l[0].Spec.Config.Type, func(content string) (mason.Masonable, error) {
		return builder(content), nil
	}))
	m.Start()
}

// states gives the states of a type by number, "free=1 dirty=2", whatever they are.
func (t *trial) states(rtype string) string {
	m, err := t.client("looker").Metric(rtype)
	t.must(err)
	var list []string
	for state, count := range m.Current {
		list = append(list, fmt.Sprintf("%s=%d", state, count))
	}
	sort.Strings(list)
	return fmt.Sprint(list)
}

func tryMason(t *trial) {
	t.startMason(lifeCycle("m-cluster", "test", "built", common.ResourceNeeds{"m-node": 2}))
	t.eventually("the cluster is free", func() bool { return t.states("m-cluster") == "[free=1]" })

	// Its nodes come to their state, which is its name, after it.
	t.eventually("its nodes are released", func() bool {
		states := t.states("m-node")
		return strings.Contains(states, "free=1") && strings.Contains(states, "=2")
	})
	t.eventually("nobody owns them", func() bool {
		m, err := t.client("looker").Metric("m-node")
		return err == nil && m.Owners[""] == 3
	})
	c := mason.NewClient(t.client("ann"))
	r, err := c.Acquire("m-cluster", common.Free, common.Busy)
	t.must(err)
	t.equal("what the builder stored", []string{r.UserData.ToMap()["made"], r.UserData.ToMap()["of"]}, []string{"built", "2"})
	var names common.LeasedResources
	t.must(r.UserData.Extract(mason.LeasedResources, &names))
	t.equal("how many nodes", len(names), 2)
	t.equal("the nodes", t.states("m-node"), "[busy=2 free=1]")
	t.must(c.UpdateAll(common.Busy))
	t.must(c.ReleaseOne(r.Name, common.Dirty))
	// It is recycled: three nodes are there, and the two that were leased are dirty.
	t.eventually("the nodes are dirty", func() bool { return t.states("m-node") == "[dirty=2 leased=1]" })
	t.eventually("the cluster waits for a second node", func() bool { return t.states("m-cluster") == "[cleaning=1]" })
}

func tryMasonFailing(t *trial) {
	t.startMason(lifeCycle("f-cluster", "broken", "", common.ResourceNeeds{"f-node": 1}))
	t.eventually("the node is dirty, and nobody's", func() bool {
		m, err := t.client("looker").Metric("f-node")
		return err == nil && m.Current[common.Dirty] == 1 && m.Owners[""] == 1
	})
	t.eventually("the cluster is taken again", func() bool { return t.states("f-cluster") == "[cleaning=1]" })
}

func tryCleaner(t *trial) {
	c := t.client("ann")
	cluster, err := c.Acquire("c-cluster", common.Free, common.Busy)
	t.must(err)
	nodes := common.LeasedResources{"c-node-1", "c-node-2"}
	_, err = c.AcquireByState(common.Free, common.Leased, nodes)
	t.must(err)
	data := &common.UserData{}
	t.must(data.Set(mason.LeasedResources, &nodes))
	t.must(c.UpdateOne(cluster.Name, common.Busy, data))
	for _, name := range nodes {
		t.must(c.ReleaseOne(name, cluster.Name))
	}
	t.must(c.ReleaseOne(cluster.Name, common.ToBeDeleted))

	cl := cleaner.NewCleaner(2, t.client("cleaner"), 100*time.Millisecond,
		lifeCycle("c-cluster", "test", "", common.ResourceNeeds{"c-node": 2}))
	cl.Start()
	defer cl.Stop()
	t.eventually("the nodes are dirty", func() bool { return t.states("c-node") == "[dirty=2]" })
	if t.isOurs {
		// The tombstone is gone at once, and a new one is made.
		t.eventually("there is a new cluster", func() bool {
			r, err := t.client("ann").Acquire("c-cluster", common.Free, common.Busy)
			return err == nil && r.Name != cluster.Name && t.states("c-cluster") == "[busy=1]"
		})
	} else {
		// In memory the original server keeps dynamic resources up at its start only.
		t.eventually("it is a tombstone", func() bool { return t.states("c-cluster") == "[tombstone=1]" })
	}
}
