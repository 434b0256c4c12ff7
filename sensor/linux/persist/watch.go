// SPDX-License-Identifier: Apache-2.0

package persist

// Op is what was done to a file.
type Op int

// Operations.
const (
	Modified   Op = iota + 1 // written and closed
	Created                  // made, or a link to it was made
	Renamed                  // moved to Path from OldPath
	Deleted                  // its name was removed
	Attributes               // its mode or owner was changed
)

// Change is the news that something was done to a file.
type Change struct {
	Op        Op
	Path      string
	OldPath   string // of Renamed
	Actor     string // image path of the process that did it
	Size      int64  // of the file, where the news tells it
	Truncated bool   // content was cut off
	Space     string // names the tree that Path is in; "" is the host's own
	Tree      Tree   // that tree, nil when it cannot be read
}

// Event is one thing that changed.
type Event struct {
	Action    string // ActionType
	Path      string
	File      Info   // as it is now; zero when it is gone
	Account   string // that the change is about
	AccountID string // its numeric id
	Fields    map[string]any
}

// Actions name the events of a thing that appears, changes and goes.
type Actions struct{ Created, Changed, Deleted string }

// mode is how changes of a file are found.
type mode int

const (
	byContent mode = iota // what it says
	byStamp               // size, times and owner only: binary, large or secret
	byLoss                // told only when content is taken away
)

// Watch is one kind of thing that is watched.
type Watch struct {
	Category  string
	Technique string   // of MITRE ATT&CK
	About     string   // for the page of documentation
	Paths     []string // patterns, see matcher
	Skip      []string // patterns of base names that are left out
	Except    []string // programs whose doings are the ordinary course
	Actions   Actions

	mode       mode
	limit      int64 // bytes that are read, 0: defaultLimit
	noBaseline bool  // too many files to look at in advance
	regular    bool  // symbolic links are left out
	secret     bool  // lines are name:password:...
	plain      bool  // its lines look like secrets and are none
	parse      func(path string, b []byte) []string
	detail     func(f *finding) map[string]any
	events     func(f *finding) []Event
}

// finding is one change with all that is known of it.
type finding struct {
	t              *Tracker
	w              *Watch
	c              *Change
	path, base     string
	prev           *state // nil: was not there, or is not known
	now            *Info  // nil: is not there
	data           []byte
	added, removed []string
	known          bool // what was there before
}

const (
	defaultLimit = 256 << 10
	maxItems     = 4096
	maxItem      = 1024
)

// Watches returns the table of what is watched.
func Watches() []Watch { return table }
