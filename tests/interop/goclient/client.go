// The trials of sigs.k8s.io/boskos/client.
package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"sigs.k8s.io/boskos/client"
	"sigs.k8s.io/boskos/common"
)

func clientTrials() []*trial {
	return []*trial{
		{name: "Acquire", run: tryAcquire},
		{name: "Acquire: ErrNotFound, ErrTypeNotFound", run: tryNotFound},
		{name: "AcquireWithPriority: first come, first served", run: tryPriority},
		{name: "AcquireWait: gets what is released meanwhile", run: tryWait},
		{name: "AcquireWait: ends with its context", run: tryWaitInVain},
		{name: "AcquireWaitWithPriority", run: tryWaitWithPriority},
		{name: "AcquireWait and AcquireByStateWait without a context: ErrContextRequired", run: tryNoContext},
		{name: "AcquireByState", run: tryByState},
		{name: "AcquireByState: one of the names is not there", run: tryByStatePart},
		{name: "AcquireByStateWait", run: tryByStateWait},
		{name: "Release", run: tryRelease},
		{name: "ReleaseOne", run: tryReleaseOne},
		{name: "ReleaseAll", run: tryReleaseAll},
		{name: "Update", run: tryUpdate},
		{name: "UpdateOne: userdata", run: tryUpdateOne},
		{name: "UpdateAll", run: tryUpdateAll},
		{name: "SyncAll", run: trySyncAll},
		{name: "Reset", run: tryReset},
		{name: "Metric", run: tryMetric},
		{name: "HasResource", run: tryHasResource},
		{name: "NewClient with a password file", run: tryPasswordFile},
		{name: "NewClientWithPasswordGetter", run: tryPasswordGetter},
		{name: "Dialer: a server that comes up later", run: tryLateServer},
	}
}

func tryAcquire(t *trial) {
	c := t.client("ann")
	before := time.Now()
	r := t.acquire(c)
	t.equal("type, name, state, owner", []string{r.Type, r.Name, r.State, r.Owner},
		[]string{t.rtype, t.one(), common.Busy, "ann"})
	// boskosd cuts off fractions of seconds.
	if r.LastUpdate.Before(before.Add(-time.Second)) || r.LastUpdate.After(time.Now().Add(time.Second)) {
		t.failf("lastupdate is %v, now it is %v", r.LastUpdate, time.Now())
	}
	t.equal("userdata", r.UserData.ToMap(), common.UserDataMap{})
	t.equal("expiration date", r.ExpirationDate, (*time.Time)(nil))
	t.counts("free=1 busy=1 / ann=1")
}

func tryNotFound(t *trial) {
	c, exact := t.client("ann"), t.client("ann")
	exact.DistinguishNotFoundVsTypeNotFound = true
	t.acquire(c)
	t.acquire(c)
	for _, one := range []struct {
		c      *client.Client
		rtype  string
		wanted error
	}{
		{c, t.rtype, client.ErrNotFound}, {c, "no-such-type", client.ErrNotFound},
		{exact, t.rtype, client.ErrNotFound}, {exact, "no-such-type", client.ErrTypeNotFound},
		{exact, "a\"b\\c\u00e9\n", client.ErrTypeNotFound},
	} {
		if r, err := one.c.Acquire(one.rtype, common.Free, common.Busy); err != one.wanted || r != nil {
			t.failf("acquire of %q: %v, %v; expected %v", one.rtype, r, err, one.wanted)
		}
	}
	t.note = "ErrAlreadyInUse is for a 401 to acquire, which neither server sends"
}

func tryPriority(t *trial) {
	holder, c := t.client("bob"), t.client("ann")
	held := t.acquire(holder)
	t.acquire(holder)
	for _, id := range []string{"first", "second"} {
		if _, err := c.AcquireWithPriority(t.rtype, common.Free, common.Busy, id); err != client.ErrNotFound {
			t.failf("%s: %v, expected ErrNotFound", id, err)
		}
	}
	t.must(holder.ReleaseOne(held.Name, common.Free))
	if _, err := c.AcquireWithPriority(t.rtype, common.Free, common.Busy, "second"); err != client.ErrNotFound {
		t.failf("the second got it before the first: %v", err)
	}
	r, err := c.AcquireWithPriority(t.rtype, common.Free, common.Busy, "first")
	t.must(err)
	t.equal("the name", r.Name, held.Name)
}

func tryWait(t *trial) {
	holder, c := t.client("bob"), t.client("ann")
	t.acquire(holder)
	t.acquire(holder)
	go func() {
		time.Sleep(time.Second)
		_ = holder.ReleaseOne(t.two(), common.Free)
	}()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	r, err := c.AcquireWait(ctx, t.rtype, common.Free, common.Busy)
	t.must(err)
	t.equal("name and owner", []string{r.Name, r.Owner}, []string{t.two(), "ann"})
}

func tryWaitInVain(t *trial) {
	c := t.client("ann")
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	r, err := c.AcquireWait(ctx, t.rtype, "odd", common.Busy)
	if err != client.ErrNotFound || r != nil {
		t.failf("%v, %v; expected ErrNotFound", r, err)
	}
	t.counts("free=2 / ")
}

func tryWaitWithPriority(t *trial) {
	holder, c := t.client("bob"), t.client("ann")
	t.acquire(holder)
	t.acquire(holder)
	if _, err := c.AcquireWithPriority(t.rtype, common.Free, common.Busy, "mine"); err != client.ErrNotFound {
		t.failf("%v, expected ErrNotFound", err)
	}
	if _, err := c.AcquireWithPriority(t.rtype, common.Free, common.Busy, "other"); err != client.ErrNotFound {
		t.failf("%v, expected ErrNotFound", err)
	}
	t.must(holder.ReleaseOne(t.one(), common.Free))
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	// It goes on in the place of the request that it names.
	r, err := c.AcquireWaitWithPriority(ctx, t.rtype, common.Free, common.Busy, "mine")
	t.must(err)
	t.equal("the name", r.Name, t.one())
}

func tryNoContext(t *trial) {
	c := t.client("ann")
	var none context.Context
	if _, err := c.AcquireWait(none, t.rtype, common.Free, common.Busy); err != client.ErrContextRequired {
		t.failf("AcquireWait: %v", err)
	}
	if _, err := c.AcquireByStateWait(none, common.Free, common.Busy, []string{t.one()}); err != client.ErrContextRequired {
		t.failf("AcquireByStateWait: %v", err)
	}
	t.counts("free=2 / ")
}

func tryByState(t *trial) {
	c := t.client("ann")
	list, err := c.AcquireByState(common.Free, common.Leased, []string{t.two(), t.one()})
	t.must(err)
	t.equal("how many", len(list), 2)
	for _, r := range list {
		t.equal("type, state, owner", []string{r.Type, r.State, r.Owner}, []string{t.rtype, common.Leased, "ann"})
	}
	t.counts("leased=2 / ann=2")
	if _, err := c.AcquireByState(common.Free, common.Leased, []string{t.one()}); err != client.ErrNotFound {
		t.failf("a second time: %v, expected ErrNotFound", err)
	}
	t.refused(func() error { _, err := c.AcquireByState(common.Free, common.Leased, nil); return err }(), "400")
	t.must(c.ReleaseAll(common.Dirty))
	t.counts("dirty=2 / ")
}

func tryByStatePart(t *trial) {
	c := t.client("ann")
	if _, err := c.AcquireByState(common.Free, common.Leased, []string{t.one(), "no-such-name"}); err != client.ErrNotFound {
		t.failf("%v, expected ErrNotFound", err)
	}
	if t.isOurs {
		t.counts("free=2 / ")
		t.note = "boskosd takes all or nothing; the original server keeps what it took, and nobody knows of it"
	} else {
		t.counts("free=1 leased=1 / ann=1")
	}
}

func tryByStateWait(t *trial) {
	holder, c := t.client("bob"), t.client("ann")
	t.acquire(holder)
	t.acquire(holder)
	go func() {
		time.Sleep(time.Second)
		_ = holder.ReleaseAll("odd")
	}()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	list, err := c.AcquireByStateWait(ctx, "odd", common.Busy, []string{t.one(), t.two()})
	t.must(err)
	t.equal("how many", len(list), 2)
	short, cancelShort := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancelShort()
	if _, err := c.AcquireByStateWait(short, "odd", common.Busy, []string{t.one()}); err != client.ErrNotFound {
		t.failf("in vain: %v, expected ErrNotFound", err)
	}
}

func tryRelease(t *trial) {
	c := t.client("ann")
	r := t.acquire(c)
	t.refused(t.client("bob").Release(r.Name, common.Dirty), "401 Unauthorized", "statusCode 401 releasing "+r.Name)
	t.must(c.Release(r.Name, common.Dirty))
	t.refused(c.Release(r.Name, common.Dirty), "401 Unauthorized")
	t.refused(c.Release("no-such-name", common.Dirty), "404 Not Found")
	t.refused(c.Release("", common.Dirty), "400 Bad Request")
	t.counts("free=1 dirty=1 / ")
}

func tryReleaseOne(t *trial) {
	c := t.client("ann")
	r := t.acquire(c)
	t.refused(c.ReleaseOne(t.two(), common.Dirty), "no resource name "+t.two())
	t.must(c.ReleaseOne(r.Name, "odd"))
	t.counts("free=1 odd=1 / ")
	r = t.acquire(c)
	_, err := t.client("bob").Reset(t.rtype, common.Busy, -time.Second, common.Dirty)
	t.must(err)
	t.refused(c.ReleaseOne(r.Name, common.Free), "401 Unauthorized")
	t.equal("holds it still", c.HasResource(), false)
	t.counts("dirty=1 odd=1 / ")
}

func tryReleaseAll(t *trial) {
	c := t.client("ann")
	t.refused(c.ReleaseAll(common.Dirty), "no holding resource")
	t.acquire(c)
	t.acquire(c)
	t.must(c.ReleaseAll(common.Dirty))
	t.counts("dirty=2 / ")
	t.equal("holds something still", c.HasResource(), false)
}

func tryUpdate(t *trial) {
	c := t.client("ann")
	r := t.acquire(c)
	t.must(c.Update(r.Name, common.Busy, nil))
	t.must(c.Update(r.Name, common.Busy, common.UserDataFromMap(common.UserDataMap{"k": "v"})))
	t.refused(c.Update(r.Name, common.Free, nil), "409 Conflict", "status code 409 updating "+r.Name)
	t.refused(t.client("bob").Update(r.Name, common.Busy, nil), "401 Unauthorized")
	t.refused(c.Update("no-such-name", common.Busy, nil), "404 Not Found")
}

func tryUpdateOne(t *trial) {
	c := t.client("ann")
	r := t.acquire(c)
	odd := "<a&b>\u2028\"\\\n\u00e9\U0001f600"
	t.refused(c.UpdateOne("no-such-name", common.Busy, nil), "no resource name no-such-name")
	t.must(c.UpdateOne(r.Name, common.Busy, common.UserDataFromMap(common.UserDataMap{"a": "1", "b": odd, "c": "3"})))
	t.must(c.UpdateOne(r.Name, common.Busy, common.UserDataFromMap(common.UserDataMap{"a": "2", "c": ""})))
	t.must(c.ReleaseOne(r.Name, "odd"))
	r, err := t.client("bob").Acquire(t.rtype, "odd", common.Busy)
	t.must(err)
	t.equal("userdata", r.UserData.ToMap(), common.UserDataMap{"a": "2", "b": odd})
}

func tryUpdateAll(t *trial) {
	c := t.client("ann")
	t.refused(c.UpdateAll(common.Busy), "no holding resource")
	t.acquire(c)
	second := t.acquire(c)
	t.must(c.UpdateAll(common.Busy))
	t.refused(c.UpdateAll(common.Free), "409 Conflict")
	t.must(t.client("ann").Release(second.Name, common.Dirty))
	t.refused(c.UpdateAll(common.Busy), "401 Unauthorized", second.Name)
	t.counts("busy=1 dirty=1 / ann=1")
}

func trySyncAll(t *trial) {
	c := t.client("ann")
	t.must(c.SyncAll())
	t.acquire(c)
	t.acquire(c)
	for i := 0; i < 4; i++ {
		time.Sleep(time.Second)
		t.must(c.SyncAll())
		owners, err := t.client("bob").Reset(t.rtype, common.Busy, 3*time.Second, common.Dirty)
		t.must(err)
		t.equal("what a reset takes of what is alive", owners, map[string]string{})
	}
	t.counts("busy=2 / ann=2")
}

func tryReset(t *trial) {
	c := t.client("ann")
	t.acquire(c)
	t.acquire(t.client("bob"))
	for _, state := range []string{common.Free, "odd"} {
		owners, err := c.Reset(t.rtype, state, -time.Second, common.Dirty)
		t.must(err)
		t.equal("a reset of "+state, owners, map[string]string{})
	}
	owners, err := c.Reset(t.rtype, common.Busy, time.Hour, common.Dirty)
	t.must(err)
	t.equal("a reset after an hour", owners, map[string]string{})
	owners, err = c.Reset("no-such-type", common.Busy, 0, common.Dirty)
	t.must(err)
	t.equal("a reset of no type", owners, map[string]string{})
	time.Sleep(1500 * time.Millisecond)
	owners, err = c.Reset(t.rtype, common.Busy, time.Second, common.Dirty)
	t.must(err)
	t.equal("a reset", owners, map[string]string{t.one(): "ann", t.two(): "bob"})
	t.counts("dirty=2 / ")
	_, err = c.Reset(t.rtype, common.Busy, 0, "")
	t.refused(err, "400 Bad Request")
}

func tryMetric(t *trial) {
	c := t.client("ann")
	t.acquire(c)
	m, err := c.Metric(t.rtype)
	t.must(err)
	t.equal("the metric", m, common.Metric{Type: t.rtype, Current: map[string]int{common.Free: 1, common.Busy: 1},
		Owners: map[string]int{"": 1, "ann": 1}})
	_, err = c.Metric("no-such-type")
	t.refused(err, "404 Not Found")
	_, err = c.Metric("")
	t.refused(err, "400 Bad Request")
}

func tryHasResource(t *trial) {
	c := t.client("ann")
	t.equal("before", c.HasResource(), false)
	r := t.acquire(c)
	t.equal("with a lease", c.HasResource(), true)
	t.must(c.Release(r.Name, common.Free)) // which the client does not note
	t.equal("released behind its back", c.HasResource(), true)
	t.refused(c.ReleaseOne(r.Name, common.Free), "401 Unauthorized")
	t.equal("after", c.HasResource(), false)
}

func tryPasswordFile(t *trial) {
	if _, err := client.NewClient("ann", t.url, "ann", ""); err == nil {
		t.failf("a name without a password was taken")
	}
	folder, err := os.MkdirTemp("", "goclient-")
	t.must(err)
	defer os.RemoveAll(folder)
	path := filepath.Join(folder, "password")
	t.must(os.WriteFile(path, []byte("secret\n"), 0o600))
	c, err := client.NewClient("ann", t.url, "ann", path)
	t.must(err)
	t.must(c.ReleaseOne(t.acquire(c).Name, common.Dirty))
	t.counts("free=1 dirty=1 / ")
}

func tryPasswordGetter(t *trial) {
	asked := 0
	c, err := client.NewClientWithPasswordGetter("ann", t.url, "ann", func() []byte { asked++; return []byte("secret") })
	t.must(err)
	t.acquire(c)
	_, err = c.Metric(t.rtype)
	t.must(err)
	t.equal("how often it was asked", asked, 2)
}

// The client's dialer tries again while nobody listens.
func tryLateServer(t *trial) {
	u, err := url.Parse(t.url)
	t.must(err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	t.must(err)
	address := listener.Addr().String()
	t.must(listener.Close())

	hasty, err := client.NewClient("ann", "http://"+address, "", "")
	t.must(err)
	hasty.Dialer.RetryCount = 0
	_, err = hasty.Acquire(t.rtype, common.Free, common.Busy)
	t.refused(err, "connection refused")

	patient, err := client.NewClient("ann", "http://"+address, "", "")
	t.must(err)
	patient.Dialer.RetryCount, patient.Dialer.RetrySleep = 10, 200*time.Millisecond
	failed := make(chan error, 1)
	go func() {
		time.Sleep(700 * time.Millisecond)
		failed <- forwardOne(address, u.Host)
	}()
	r, err := patient.Acquire(t.rtype, common.Free, common.Busy)
	t.must(errors.Join(err, <-failed))
	t.equal("the owner", r.Owner, "ann")
}

// forwardOne listens, and gives one connection on to the server.
func forwardOne(address, server string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	from, err := listener.Accept()
	_ = listener.Close()
	if err != nil {
		return err
	}
	to, err := net.Dial("tcp", server)
	if err != nil {
		return err
	}
	go func() { _, _ = io.Copy(to, from) }()
	go func() { _, _ = io.Copy(from, to) }()
	return nil
}
