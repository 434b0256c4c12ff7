// SPDX-License-Identifier: Apache-2.0

// What programs do to be seen less, or differently, without any harm: each
// command is one way. The live tests build it and run it.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/sched.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static void fail(const char *what)
{
	perror(what);
	exit(125);
}

static void touch(const char *name)
{
	int fd = open(name, O_CREAT | O_WRONLY | O_TRUNC, 0644);
	if (fd < 0 || write(fd, "12345", 5) != 5 || close(fd))
		fail(name);
}

static void wait_for(pid_t pid)
{
	int status;
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) == 125)
		fail("child");
}

static void run(char *const argv[])
{
	execv(argv[0], argv);
	fail(argv[0]);
}

// ---- io_uring -----------------------------------------------------------
static struct {
	int fd;
	unsigned *tail, *mask, *array, *done_head, *done_tail, *done_mask;
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
} ring;

static void ring_open(void)
{
	struct io_uring_params p = { 0 };
	ring.fd = syscall(SYS_io_uring_setup, 4, &p);
	if (ring.fd < 0)
		exit(77); // not allowed here
	char *sq = mmap(NULL, p.sq_off.array + p.sq_entries * 4, PROT_READ | PROT_WRITE, MAP_SHARED, ring.fd, IORING_OFF_SQ_RING);
	char *cq = mmap(NULL, p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe), PROT_READ | PROT_WRITE, MAP_SHARED, ring.fd, IORING_OFF_CQ_RING);
	ring.sqes = mmap(NULL, p.sq_entries * sizeof(struct io_uring_sqe), PROT_READ | PROT_WRITE, MAP_SHARED, ring.fd, IORING_OFF_SQES);
	if (sq == MAP_FAILED || cq == MAP_FAILED || ring.sqes == MAP_FAILED)
		fail("mmap");
	ring.tail = (void *)(sq + p.sq_off.tail);
	ring.mask = (void *)(sq + p.sq_off.ring_mask);
	ring.array = (void *)(sq + p.sq_off.array);
	ring.done_head = (void *)(cq + p.cq_off.head);
	ring.done_tail = (void *)(cq + p.cq_off.tail);
	ring.done_mask = (void *)(cq + p.cq_off.ring_mask);
	ring.cqes = (void *)(cq + p.cq_off.cqes);
}

static int ring_do(struct io_uring_sqe e)
{
	unsigned tail = *ring.tail, at = tail & *ring.mask;
	ring.sqes[at] = e;
	ring.array[at] = at;
	__atomic_store_n(ring.tail, tail + 1, __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, ring.fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) != 1)
		fail("io_uring_enter");
	unsigned head = *ring.done_head;
	if (head == __atomic_load_n(ring.done_tail, __ATOMIC_ACQUIRE))
		fail("nothing done");
	int result = ring.cqes[head & *ring.done_mask].res;
	__atomic_store_n(ring.done_head, head + 1, __ATOMIC_RELEASE);
	if (result < 0) {
		errno = -result;
		fail("io_uring");
	}
	return result;
}

static void ring_write(const char *name)
{
	int fd = ring_do((struct io_uring_sqe){ .opcode = IORING_OP_OPENAT, .fd = AT_FDCWD, .addr = (uint64_t)name, .len = 0644, .open_flags = O_CREAT | O_WRONLY });
	ring_do((struct io_uring_sqe){ .opcode = IORING_OP_WRITE, .fd = fd, .addr = (uint64_t)"12345", .len = 5 });
	ring_do((struct io_uring_sqe){ .opcode = IORING_OP_CLOSE, .fd = fd });
}

static void uring(char **a) // kept, moved, gone
{
	ring_open();
	ring_write(a[0]);
	ring_write(a[2]);
	ring_do((struct io_uring_sqe){ .opcode = IORING_OP_UNLINKAT, .fd = AT_FDCWD, .addr = (uint64_t)a[2] });
	ring_do((struct io_uring_sqe){ .opcode = IORING_OP_RENAMEAT, .fd = AT_FDCWD, .addr = (uint64_t)a[0], .len = (uint32_t)AT_FDCWD, .addr2 = (uint64_t)a[1] });
}

static void uring_connect(char **a) // port
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(atoi(a[0])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	ring_open();
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	ring_do((struct io_uring_sqe){ .opcode = IORING_OP_CONNECT, .fd = fd, .addr = (uint64_t)&to, .off = sizeof(to) });
}

// ---- names and arguments -------------------------------------------------
static volatile int flipping = 1;

static void *flip(void *at)
{
	while (flipping)
		*(volatile char *)at ^= 'a' ^ 'b';
	return NULL;
}

static void arguments(int argc, char **argv) // file: hides what it was called with
{
	char name[4096];
	snprintf(name, sizeof(name), "%s", argv[2]);
	for (int i = 0; i < argc; i++)
		memset(argv[i], 'x', strlen(argv[i]));
	prctl(PR_SET_NAME, "kworker/0:1");
	touch(name);
}

static void toctou(char **a) // number, text that ends in an a
{
	pthread_t t;
	pthread_create(&t, NULL, flip, a[1] + strlen(a[1]) - 1);
	for (int i = atoi(a[0]); i > 0; i--) {
		pid_t pid = vfork();
		if (!pid) {
			char *argv[] = { "/bin/echo", a[1], NULL };
			execv(argv[0], argv);
			_exit(125);
		}
		wait_for(pid);
	}
	flipping = 0;
	pthread_join(t, NULL);
}

static void race(char **a) // number, file whose name ends in an a
{
	char one[4096], two[4096], flat[4096];
	snprintf(one, sizeof(one), "%s", a[1]);
	snprintf(two, sizeof(two), "%.*sb", (int)strlen(a[1]) - 1, a[1]);
	snprintf(flat, sizeof(flat), "%s", a[1]);
	pthread_t t;
	pthread_create(&t, NULL, flip, flat + strlen(flat) - 1);
	for (int i = atoi(a[0]); i > 0; i--) {
		touch(one);
		touch(two);
		if (unlink(flat))
			fail(flat);
		printf("%c\n", access(one, F_OK) ? 'a' : 'b');
	}
	flipping = 0;
	pthread_join(t, NULL);
}

// ---- images ----------------------------------------------------------------
static void by_descriptor(char **a) // program and its arguments
{
	int fd = open(a[0], O_PATH | O_CLOEXEC);
	syscall(SYS_execveat, fd, "", a, environ, AT_EMPTY_PATH);
	fail("execveat");
}

static void memory(char **a) // arguments
{
	char buf[65536];
	ssize_t n;
	int from = open("/proc/self/exe", O_RDONLY), to = memfd_create("quiet", MFD_CLOEXEC);
	while ((n = read(from, buf, sizeof(buf))) > 0)
		if (write(to, buf, n) != n)
			fail("write");
	syscall(SYS_execveat, to, "", a, environ, AT_EMPTY_PATH);
	fail("execveat");
}

static void again(char **a)
{
	execv("/proc/self/exe", a);
	fail("exec");
}

static void vforks(const char *self, char **a) // number, mark
{
	char n[16];
	if (atoi(a[0]) == 0)
		run((char *[]){ "/bin/true", a[1], NULL });
	snprintf(n, sizeof(n), "%d", atoi(a[0]) - 1);
	pid_t pid = vfork();
	if (!pid) {
		execl(self, self, "vfork", n, a[1], NULL);
		_exit(125);
	}
	wait_for(pid);
}

static void chain(const char *self, char **a) // number
{
	char n[16];
	if (atoi(a[0]) == 0)
		return;
	snprintf(n, sizeof(n), "%d", atoi(a[0]) - 1);
	run((char *[]){ (char *)self, "chain", n, NULL });
}

static void big(char **a) // number of arguments, bytes of each
{
	int n = atoi(a[0]), size = atoi(a[1]);
	struct rlimit most = { RLIM_INFINITY, RLIM_INFINITY };
	char **argv = calloc(n + 2, sizeof(*argv)), *text = malloc(size + 1);
	memset(text, 'x', size);
	text[size] = 0;
	argv[0] = "/bin/true";
	for (int i = 1; i <= n; i++)
		argv[i] = text;
	if (setrlimit(RLIMIT_STACK, &most))
		fail("setrlimit");
	run(argv);
}

// ---- processes -------------------------------------------------------------
static void orphan(char **a) // mark
{
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	pid_t middle = fork();
	if (!middle) {
		pid_t me = getpid();
		if (fork())
			_exit(0);
		while (getppid() == me)
			usleep(1000);
		run((char *[]){ "/bin/true", a[0], NULL });
	}
	wait_for(middle);
	wait(NULL);
	printf("%d\n", middle);
}

#if defined(__x86_64__)
static void inject(char **a) // mark: makes another process fork
{
	int status;
	pid_t pid = fork();
	if (!pid) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		long child = syscall(SYS_getppid); // not what the tracer lets it be
		if (child == 0)
			execl("/bin/true", "/bin/true", a[0], NULL);
		_exit(waitpid(child, NULL, 0) != child);
	}
	waitpid(pid, &status, 0);
	for (;;) {
		struct user_regs_struct r;
		if (ptrace(PTRACE_SYSCALL, pid, 0, 0) || waitpid(pid, &status, 0) < 0 || ptrace(PTRACE_GETREGS, pid, 0, &r))
			fail("ptrace");
		if (r.orig_rax != SYS_getppid)
			continue;
		r.orig_rax = SYS_fork;
		if (ptrace(PTRACE_SETREGS, pid, 0, &r) || ptrace(PTRACE_DETACH, pid, 0, 0))
			fail("ptrace");
		break;
	}
	wait_for(pid);
	printf("%d\n", pid);
}

static long compat_call(long n, long a, long b, long c)
{
	long result;
	asm volatile("int $0x80" : "=a"(result) : "a"(n), "b"(a), "c"(b), "d"(c) : "memory", "r8", "r9", "r10", "r11");
	return result;
}

static void compat(char **a) // kept, gone: by calls of 32-bit programs
{
	char *low = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	if (low == MAP_FAILED)
		fail("mmap");
	for (int i = 0; i < 2; i++) {
		strcpy(low, a[i]);
		strcpy(low + 4096, "12345");
		long fd = compat_call(5, (long)low, O_CREAT | O_WRONLY, 0644);
		if (fd < 0)
			exit(77); // not built into this kernel
		compat_call(4, fd, (long)low + 4096, 5);
		compat_call(6, fd, 0, 0);
	}
	if (compat_call(10, (long)low, 0, 0))
		fail("unlink");
}
#else
static void inject(char **a) { exit(77); }
static void compat(char **a) { exit(77); }
#endif

static void reuse(const char *self, char **a) // two files
{
	pid_t pid = fork();
	if (!pid)
		run((char *[]){ (char *)self, "touch", a[0], NULL });
	wait_for(pid);
	struct clone_args c = { .exit_signal = SIGCHLD, .set_tid = (uint64_t)&pid, .set_tid_size = 1 };
	pid_t same = syscall(SYS_clone3, &c, sizeof(c));
	if (same < 0)
		exit(77);
	if (!same)
		run((char *[]){ (char *)self, "touch", a[1], NULL });
	wait_for(same);
	printf("%d\n", pid);
}

static void *exec_here(void *mark)
{
	run((char *[]){ "/bin/true", mark, NULL });
	return NULL;
}

static void exec_by_thread(char **a) // mark
{
	pthread_t t;
	pthread_create(&t, NULL, exec_here, a[0]);
	pthread_join(t, NULL);
}

static pthread_t first;

static void *outlive(void *name)
{
	pthread_join(first, NULL);
	touch(name);
	exit(3);
}

static void dead_leader(char **a) // file: written when the first thread has ended
{
	pthread_t t;
	first = pthread_self();
	pthread_create(&t, NULL, outlive, a[0]);
	pthread_exit(NULL);
}

static void bomb(char **a) // number, mark
{
	int start[2], n = atoi(a[0]);
	char c;
	if (pipe2(start, O_CLOEXEC))
		fail("pipe");
	for (int i = 0; i < n; i++) {
		pid_t pid = fork();
		if (pid < 0)
			fail("fork");
		if (!pid) {
			close(start[1]);
			if (read(start[0], &c, 1) != 0)
				_exit(125);
			run((char *[]){ "/bin/true", a[1], NULL });
		}
	}
	close(start[1]);
	for (int i = 0; i < n; i++)
		wait(NULL);
}

// ---- places -----------------------------------------------------------------
static void deep(char **a) // number of folders, mark
{
	char name[201];
	memset(name, 'd', 200);
	name[200] = 0;
	for (int i = atoi(a[0]); i > 0; i--)
		if (mkdir(name, 0755) || chdir(name))
			fail("mkdir");
	touch("bottom");
	if (rename("bottom", "moved") || unlink("moved"))
		fail("rename");
	run((char *[]){ "/bin/true", a[1], NULL });
}

static void gone(char **a) // folder, mark
{
	if (mkdir(a[0], 0755) || chdir(a[0]) || rmdir(a[0]))
		fail(a[0]);
	run((char *[]){ "/bin/true", a[1], NULL });
}

static void flood(char **a) // number, file
{
	for (int i = atoi(a[0]); i > 0; i--) {
		int fd = open(a[1], O_CREAT | O_WRONLY | O_TRUNC, 0644);
		if (fd < 0 || close(fd))
			fail(a[1]);
	}
}

int main(int argc, char **argv)
{
	if (argc < 2)
		return 125;
	char *what = argv[1], **a = argv + 2, c;
	static const struct { const char *name; void (*act)(char **); } acts[] = {
		{ "uring", uring }, { "uring-connect", uring_connect }, { "toctou", toctou }, { "race", race },
		{ "descriptor", by_descriptor }, { "memory", memory }, { "self", again }, { "big", big }, { "orphan", orphan },
		{ "inject", inject }, { "compat", compat }, { "thread-exec", exec_by_thread }, { "dead-leader", dead_leader },
		{ "bomb", bomb }, { "deep", deep }, { "gone", gone }, { "flood", flood },
	};
	if (!strcmp(what, "wait")) // for the end of input
		return read(0, &c, 1) != 0;
	if (!strcmp(what, "touch")) {
		for (; *a; a++)
			touch(*a);
	} else if (!strcmp(what, "remove")) {
		for (; *a; a++)
			if (unlink(*a))
				fail(*a);
	} else if (!strcmp(what, "arguments"))
		arguments(argc, argv);
	else if (!strcmp(what, "vfork"))
		vforks(argv[0], a);
	else if (!strcmp(what, "chain"))
		chain(argv[0], a);
	else if (!strcmp(what, "reuse"))
		reuse(argv[0], a);
	for (unsigned i = 0; i < sizeof(acts) / sizeof(acts[0]); i++)
		if (!strcmp(what, acts[i].name))
			acts[i].act(a);
	return 0;
}
