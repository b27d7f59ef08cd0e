/* theatre.c - see theatre.h. */
#include "theatre.h"
#include "multicast_stage.h"
#include "queue_ledger.h"
#include "state.h"
#include "step.h"

#include <dirent.h>
#include <sys/stat.h>

const struct operation *const all_rooms[] = { sending_operations, receiving_operations, parts_operations,
                                              end_operations, name_operations, putting_operations,
                                              taking_operations, lease_operations, repair_operations,
                                              queue_name_operations, publishing_operations,
                                              publishing_beside_operations,
                                              subscribing_operations, subscribing_beside_operations,
                                              joining_operations, joining_beside_operations,
                                              multicast_name_operations, NULL };
const struct operation *const rooms_with_system_calls[] = { end_operations,    name_operations,  putting_operations,
                                                             taking_operations, lease_operations, repair_operations,
                                                             queue_name_operations, publishing_operations,
                                                             subscribing_operations, joining_operations,
                                                             multicast_name_operations, NULL };

static char base[DIR_ROOM / 2];

void theatre_close(void)
{
    DIR *stream = base[0] != 0 ? opendir(base) : NULL;
    if (stream == NULL)
        return;
    for (const struct dirent *entry = readdir(stream); entry != NULL; entry = readdir(stream)) {
        char path[sizeof base + sizeof entry->d_name];
        snprintf(path, sizeof path, "%s/%s", base, entry->d_name);
        if (entry->d_name[0] != '.')
            copy_remove(path);
    }
    closedir(stream);
    rmdir(base);
}

/* Stopped, or taking too long.  A handler may do little, but it may let somebody else tidy up (by vfork, which
 * runs no handlers of fork). */
static void close_and_end(int signal_number)
{
    if (getpid() != check_main_process)
        _exit(128 + signal_number);
    const pid_t tidier = vfork();
    if (tidier == 0) {
        execl("/bin/rm", "rm", "-rf", "--", base, (char *)NULL);
        _exit(1);
    }
    waitpid(tidier, NULL, 0);
    if (signal_number == SIGALRM)
        check_watchdog(signal_number);
    _exit(128 + signal_number);
}

void theatre_open(void)
{
    check_begin();
    check_tidy = theatre_close;
    signal(SIGINT, close_and_end);
    signal(SIGTERM, close_and_end);
    signal(SIGALRM, close_and_end);
    step_pin();
    snprintf(base, sizeof base, "/dev/shm/ipc-crash-%d-XXXXXX", (int)getpid());
    CHECK(mkdtemp(base) != NULL);
}

bool is_wanted(char **names, const char *name)
{
    for (char **at = names; *at != NULL; at++)
        if (strcmp(*at, name) == 0)
            return true;
    return *names == NULL;
}

struct stage *stage_new(const struct operation *operation, const struct start *start)
{
    static uint64_t number;
    struct stage *s = calloc(1, sizeof *s);
    CHECK(s != NULL);
    s->operation = operation;
    s->start = start;
    s->between = shared_memory(sizeof *s->between);
    snprintf(s->dir, sizeof s->dir, "%s/%" PRIu64, base, number++);
    CHECK(mkdir(s->dir, 0700) == 0);
    alarm(WATCHDOG_SECONDS); /* each death has its own time */
    if (operation->prepare != NULL)
        operation->prepare(s);
    return s;
}

void stage_end(struct stage *s)
{
    if (s->peer != NULL)
        finish(s->peer, false);
    if (s->play != NULL)
        play_end(s);
    if (s->broadcast != NULL)
        broadcast_end(s);
    if (s->segment != NULL)
        ipcr_segment_release(s->segment);
    copy_remove(s->dir);
    munmap(s->between, sizeof *s->between);
    free(s);
}
