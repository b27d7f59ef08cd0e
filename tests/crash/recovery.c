/* recovery.c - see recovery.h.
 *
 * The process is made without the handlers of fork: those would mark the living's ends as forked, and it stands
 * for the very process that lives.  Mappings of lock holds aren't copied (MADV_DONTFORK), so it holds nothing
 * until copy_enter takes the living's locks on the copy.
 */
#include "recovery.h"

#include <sys/syscall.h>

enum { PATIENCE_SECONDS = 60 }; /* for a recovery of a millisecond: beyond it, it hangs */

static pid_t copy_of_this_process(void) { return (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL); }

bool ask(question *about, struct stage *s, const struct state *state, char answer[ANSWER_ROOM])
{
    int report, status;
    CHECK_IS(ipcr_os_memfd("ipc:answer", &report), IPCR_OK);
    fflush(NULL);
    const pid_t pid = copy_of_this_process();
    CHECK(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        signal(SIGALRM, SIG_DFL);
        alarm(PATIENCE_SECONDS);
        dup2(report, 1);
        about(s, state);
        fflush(NULL);
        _exit(0);
    }
    pid_t got;
    do
        got = waitpid(pid, &status, 0);
    while (got < 0 && errno == EINTR);
    CHECK(got == pid);
    const ssize_t n = pread(report, answer, ANSWER_ROOM - 64, 0);
    answer[n > 0 ? n : 0] = 0;
    close(report);
    if (WIFSIGNALED(status))
        sprintf(answer + strlen(answer), "%s\n",
                WTERMSIG(status) == SIGALRM ? "the recovery hangs" : strsignal(WTERMSIG(status)));
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void remember_return(struct stage *s)
{
    s->returned = load_acquire32(&s->between->phase) == RETURNED;
    s->result = s->between->result;
}

/* Each way in a process of its own: the handles of the living have gone on in the one before. */
static int way_to_go;

static void recover_copy(struct stage *s, const struct state *state)
{
    char copy_dir[DIR_ROOM + 8];
    snprintf(copy_dir, sizeof copy_dir, "%s.copy", s->dir);
    remember_return(s);
    s->way = way_to_go / 2;
    copy_enter(s, state, copy_dir, way_to_go % 2 == 0);
    s->operation->check(s);
    copy_remove(copy_dir);
}

/* The locks are held by the process that this one is a copy of: pages that stand for its holds. */
static void recover_itself(struct stage *s, const struct state *state)
{
    (void)state;
    remember_return(s);
    s->all_died = s->living_count == 0;
    for (int i = 0; i < s->living_count; i++)
        CHECK(mmap(s->living[i].hold->page, (size_t)ipcr_os_page_bytes(), PROT_NONE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == s->living[i].hold->page);
    s->operation->check(s);
}

bool recovers(struct stage *s, const struct state *state, char answer[ANSWER_ROOM])
{
    const int ways = s->operation->ways == 0 ? 1 : s->operation->ways;
    for (way_to_go = 0; way_to_go < 2 * ways; way_to_go++) {
        if (way_to_go % 2 == 0 && s->living_count == 0)
            continue; /* nobody lives anyway */
        if (!ask(recover_copy, s, state, answer)) {
            char copy_dir[DIR_ROOM + 8];
            snprintf(copy_dir, sizeof copy_dir, "%s.copy", s->dir);
            copy_remove(copy_dir);
            return false;
        }
    }
    return true;
}

bool recovers_for_real(struct stage *s, char answer[ANSWER_ROOM]) { return ask(recover_itself, s, NULL, answer); }
