// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"time"

	"github.com/picket-edr/picket"
	"github.com/picket-edr/picket/event"
)

// Defaults and bounds of a spool.
const (
	DefaultLimit     = 512 << 20
	MinLimit         = 1 << 20
	DefaultSyncEvery = 100 * time.Millisecond
	lossEvery        = time.Second
)

// ErrFull says that a batch was not kept because nothing of lower or equal
// value was left to make room. It is counted when it is returned.
var ErrFull = fmt.Errorf("spool: full: %w", picket.Unavailable)

// Options say where a spool lies and how much it may hold.
type Options struct {
	Dir       string
	BootID    string            // of the running boot
	Limit     int64             // bytes of all segments; 0: DefaultLimit
	SyncEvery time.Duration     // group commit; 0: DefaultSyncEvery; negative: only when Sync is called
	FS        FS                // nil: OS
	Now       func() event.Time // clock for Batch.Created; nil: the wall clock
	Log       *slog.Logger      // nil: discard
	Salt      func() uint64     // nil: random
}

// Spool is a bounded log of batches. Its methods may be called concurrently,
// but there is one reader: Next, Rewind and Reject continue each other.
type Spool struct {
	opts   Options
	report *reportIDs
	ready  chan struct{}
	stop   chan struct{}
	wg     sync.WaitGroup
	syncMu sync.Mutex // held while files are synced; taken before mu

	mu         sync.Mutex
	st         state
	slots      *slots
	hadState   bool
	stateDirty bool
	dirDirty   bool
	segs       [classes][]*segment // ascending id
	active     [classes]*segment   // the segment that is written to, if any
	nextID     uint64
	used       int64
	limit      int64
	ranks      map[string]int    // order of boots
	acked      map[string]uint64 // by boot
	cursors    [classes]cursor
	sent       point // furthest batch handed out since Rewind
	rejected   map[number]bool
	spans      [kinds]span
	base       [kinds]uint64 // losses before this run
	appended   uint64        // rows since opened
	diskErrors uint64
	lastError  string
	full       bool // the last append found the disk or the spool full
	closed     bool
	recovery   Recovery
}

// Recovery is what Open found.
type Recovery struct {
	Unclean    bool   // the run before did not close the spool
	SameBoot   bool   // the run before was in this boot
	LastReport int64  // greatest report id kept by the run before in this boot
	NextReport int64  // first report id of this run
	Damaged    uint64 // rows found damaged, as far as they can be counted
	Batches    int    // damaged places
}

var bootID = regexp.MustCompile(`^[0-9A-Za-z-]{1,64}$`)

// Open opens the spool in a folder and makes it when it is not there. Batches
// of earlier boots stay and are sent first. Only one Spool may be open on a
// folder; the caller sees to that.
func Open(opts Options) (*Spool, error) {
	if !bootID.MatchString(opts.BootID) {
		return nil, fmt.Errorf("open spool: boot id %q: %w", opts.BootID, picket.Invalid)
	}
	opts.setDefaults()
	s := &Spool{
		opts: opts, limit: max(opts.Limit, MinLimit), nextID: 1,
		ready: make(chan struct{}, 1), stop: make(chan struct{}),
		ranks: map[string]int{}, acked: map[string]uint64{}, rejected: map[number]bool{},
	}
	if err := opts.FS.MkdirAll(s.path("rejected")); err != nil {
		return nil, fmt.Errorf("open spool: %w", err)
	}
	if err := s.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("open spool %s: %w", opts.Dir, err), s.closeFiles())
	}
	if opts.SyncEvery > 0 {
		s.wg.Add(1)
		go s.commit()
	}
	s.signal()
	return s, nil
}

func (o *Options) setDefaults() {
	if o.Limit == 0 {
		o.Limit = DefaultLimit
	}
	if o.SyncEvery == 0 {
		o.SyncEvery = DefaultSyncEvery
	}
	if o.FS == nil {
		o.FS = OS{}
	}
	if o.Now == nil {
		o.Now = func() event.Time { return event.TimeOf(time.Now()) }
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Salt == nil {
		o.Salt = func() uint64 {
			var b [8]byte
			rand.Read(b[:]) // never fails
			return binary.LittleEndian.Uint64(b[:])
		}
	}
}

func (s *Spool) path(name string) string { return filepath.Join(s.opts.Dir, name) }

// segmentSize is the size at which a segment is full: small enough that making
// room costs little, large enough that files are few.
func (s *Spool) segmentSize() int64 { return min(max(s.limit/64, 64<<10), 8<<20) }

func (s *Spool) signal() {
	select {
	case s.ready <- struct{}{}:
	default:
	}
}

// Ready receives a value after batches have been appended since the last one.
func (s *Spool) Ready() <-chan struct{} { return s.ready }

// Recovery returns what Open found.
func (s *Spool) Recovery() Recovery { return s.recovery }

// NextReportID returns the next running number of an event within the boot. It
// never waits.
func (s *Spool) NextReportID() int64 { return s.report.draw() }

// Append numbers, chains, encodes and keeps a batch of rows of one class. It
// does not wait for the disk. When there is no room for it, that is counted
// and the error wraps picket.Unavailable.
func (s *Spool) Append(c Class, blocks []*event.Block) error { return s.AppendPart(c, blocks, 0) }

// AppendPart appends a batch that others follow with rows of the same moment.
func (s *Spool) AppendPart(c Class, blocks []*event.Block, rest int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return fmt.Errorf("append: spool is closed: %w", picket.Canceled)
	}
	return s.append(c, blocks, rest, 0)
}

func (s *Spool) append(c Class, blocks []*event.Block, rest int, flags uint32) error {
	batch := event.Batch{BootID: s.opts.BootID, Seq: s.st.Next, Prev: event.Hash(s.st.Last), Created: s.opts.Now(), Blocks: blocks, Rest: rest}
	rows := uint64(batch.Rows())
	payload, err := batch.Encode()
	if err == nil && len(payload) > event.DefaultLimits.Compressed {
		err = fmt.Errorf("batch of %d bytes: %w", len(payload), picket.TooLarge)
	}
	r := record{
		length: uint32(len(payload)), seq: batch.Seq, report: greatestReport(blocks),
		before: s.st.Rows[c], rows: uint32(rows), sum: crc32.Checksum(payload, castagnoli), flags: flags,
	}
	if err == nil {
		err = s.store(c, r, payload)
	}
	s.full = err != nil
	if err != nil {
		if flags&flagAccount == 0 {
			s.lose(int(c), rows, 1, "", 0, 0)
		}
		return err
	}
	hash := event.HashOf(payload)
	s.st.Next, s.st.Last = batch.Seq+1, hash[:]
	s.st.Rows[c], s.st.Newest[c] = r.end(), s.active[c].id
	s.st.Report = max(s.st.Report, r.report)
	s.appended += rows
	s.save()
	s.signal()
	return nil
}

// store writes a record, making room first. Each try that finds the disk full
// gives up something of lower or equal value.
func (s *Spool) store(c Class, r record, payload []byte) error {
	for failures := 0; ; {
		if err := s.makeRoom(c, r.size()); err != nil {
			return err
		}
		err := s.write(c, r, payload)
		if err == nil {
			return nil
		}
		s.diskError("append", err)
		s.active[c] = nil // what was written stays readable; go on in a new file
		if diskFull(err) && s.dropOne(c) {
			continue
		}
		if failures++; failures == 2 || diskFull(err) {
			return fmt.Errorf("%w: %w", ErrFull, err)
		}
	}
}

func (s *Spool) write(c Class, r record, payload []byte) error {
	g := s.active[c]
	if g == nil || (g.count > 0 && g.size+r.size() > s.segmentSize()) {
		s.active[c] = nil
		h := header{class: c, boot: s.opts.BootID, salt: s.opts.Salt(), rows: s.st.Rows[c]}
		var err error
		if g, err = s.newSegment(h); err != nil {
			s.nextID++ // a half-made file must not stand in the way
			return err
		}
		s.nextID++
		s.add(g)
		s.active[c], s.dirDirty = g, true
	}
	before := g.size
	if err := g.append(r, payload); err != nil {
		return err
	}
	s.used += g.size - before
	return nil
}

// newSegment makes the file of a segment. Where somebody removed the folder it
// is made again: what was open stays readable as long as this run lasts.
func (s *Spool) newSegment(h header) (*segment, error) {
	g, err := createSegment(s.opts.FS, s.opts.Dir, s.nextID, h)
	if !errors.Is(err, os.ErrNotExist) {
		return g, err
	}
	s.diskError("folder removed", err)
	if err := s.opts.FS.MkdirAll(s.path("rejected")); err != nil {
		return nil, fmt.Errorf("make the folder again: %w", err)
	}
	if s.slots != nil {
		s.diskError("close state", s.slots.f.Close())
		s.slots = nil // made with the next save
	}
	s.diskError("open report ids", s.report.remake(s.opts.FS, s.path("report")))
	return createSegment(s.opts.FS, s.opts.Dir, s.nextID, h)
}

// add lists a segment. Its boot gets a rank after all others when it is new.
func (s *Spool) add(g *segment) {
	rank, ok := s.ranks[g.boot]
	if !ok {
		for _, r := range s.ranks {
			rank = max(rank, r+1)
		}
		s.ranks[g.boot] = rank
	}
	g.rank = rank
	s.segs[g.class] = append(s.segs[g.class], g)
	s.used += g.size
}

// commit is the background work: group commit, reserving report ids, telling
// losses.
func (s *Spool) commit() {
	defer s.wg.Done()
	tick := time.NewTicker(s.opts.SyncEvery)
	defer tick.Stop()
	tell := time.NewTicker(lossEvery)
	defer tell.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-s.report.wake:
			s.logged(s.report.extend())
		case <-tick.C:
			s.logged(s.Sync())
		case <-tell.C:
			s.TellLosses()
		}
	}
}

func (s *Spool) logged(err error) {
	if err != nil {
		s.mu.Lock()
		s.diskError("background", err)
		s.mu.Unlock()
	}
}

// TellLosses appends an account of the losses that the server has not been
// told yet. The spool does so by itself about once a second.
func (s *Spool) TellLosses() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.tellLosses()
	}
}

// Sync makes everything appended so far durable.
func (s *Spool) Sync() error {
	s.syncMu.Lock()
	defer s.syncMu.Unlock()
	s.mu.Lock()
	var dirty []*segment
	for _, list := range s.segs {
		for _, g := range list {
			if g.dirty {
				dirty = append(dirty, g)
				g.dirty = false
			}
		}
	}
	var st *slots
	if s.stateDirty {
		st = s.slots
	}
	dir, next := s.dirDirty, s.st.Next
	s.stateDirty, s.dirDirty = false, false
	s.mu.Unlock()

	var errs []error
	for _, g := range dirty {
		if err := g.f.Sync(); err != nil {
			errs = append(errs, s.seal(g, err))
		}
	}
	if st != nil {
		errs = append(errs, st.sync())
	}
	if dir {
		errs = append(errs, s.opts.FS.SyncDir(s.opts.Dir))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.settle(next-1) && !s.closed {
		s.save()
	}
	return nil
}

// seal stops writing to a segment that could not be synced: what the kernel
// has marked clean by mistake is not relied on again. A segment removed
// meanwhile does not matter.
func (s *Spool) seal(g *segment, err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g.gone && errors.Is(err, os.ErrClosed) {
		return nil
	}
	if s.active[g.class] == g {
		s.active[g.class] = nil
	}
	return fmt.Errorf("sync %s: %w", g.path, err)
}

// SetLimit changes how many bytes the spool may hold.
func (s *Spool) SetLimit(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit = max(n, MinLimit)
}

// Stats are figures of a spool.
type Stats struct {
	Bytes      int64
	Limit      int64
	Segments   int
	Rows       uint64            // appended since opened
	Lost       map[string]uint64 // rows lost since opened, by kind
	Full       bool              // the last append found no room
	DiskErrors uint64
	LastError  string
}

// Stats returns the figures of the spool.
func (s *Spool) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Stats{
		Bytes: s.used, Limit: s.limit, Rows: s.appended, Lost: s.lostMap(),
		Full: s.full, DiskErrors: s.diskErrors, LastError: s.lastError,
	}
	for _, list := range s.segs {
		st.Segments += len(list)
	}
	return st
}

// Close makes everything durable and ends the background work.
func (s *Spool) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.tellLosses()
	s.closed = true
	s.st.Clean = true
	s.save()
	s.mu.Unlock()
	close(s.stop)
	s.wg.Wait()
	err := s.Sync()
	return errors.Join(err, s.closeFiles())
}

func (s *Spool) closeFiles() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, list := range s.segs {
		for _, g := range list {
			errs = append(errs, g.f.Close())
		}
	}
	if s.slots != nil {
		errs = append(errs, s.slots.f.Close())
	}
	if s.report != nil {
		errs = append(errs, s.report.close())
	}
	return errors.Join(errs...)
}
