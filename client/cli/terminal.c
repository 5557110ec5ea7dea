/* The terminal. SPDX-License-Identifier: Apache-2.0 */
#include "client/cli/terminal.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

/* Another screen, no cursor; and back. */
static const char enter[] = "\x1b[?1049h\x1b[?25l", leave[] = "\x1b[0m\x1b[?25h\x1b[?1049l";

static const int endings[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGPIPE};

static struct termios before;
static volatile sig_atomic_t taken, stop_asked;

bool terminal_is_there(void)
{
    return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
}

/* Only what a signal handler may do. */
void terminal_give_back(void)
{
    if (!taken)
        return;
    taken = 0;
    (void)!write(STDOUT_FILENO, leave, sizeof leave - 1);
    tcsetattr(STDIN_FILENO, TCSANOW, &before);
}

/* The process ends by the signal all the same. */
static void on_ending(int number)
{
    terminal_give_back();
    signal(number, SIG_DFL);
    raise(number);
}

static void on_stop(int number)
{
    (void)number;
    stop_asked = 1;
}

static void on_nothing(int number)
{
    (void)number; /* it interrupts poll, which is what it is for */
}

static void handle(int number, void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler};
    sigaction(number, &action, NULL);
}

bool terminal_take(void)
{
    if (tcgetattr(STDIN_FILENO, &before))
        return false;
    for (size_t k = 0; k < sizeof endings / sizeof *endings; k++)
        handle(endings[k], on_ending);
    handle(SIGTSTP, on_stop);
    handle(SIGWINCH, on_nothing);
    struct termios raw = before;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    taken = 1; /* a signal between this and the next line must undo it */
    if (tcsetattr(STDIN_FILENO, TCSANOW, &raw)) {
        taken = 0;
        return false;
    }
    (void)!write(STDOUT_FILENO, enter, sizeof enter - 1);
    return true;
}

void terminal_size(int *lines, int *columns)
{
    struct winsize size = {0};
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size))
        size = (struct winsize){0};
    *lines = size.ws_row ? size.ws_row : 24;
    *columns = size.ws_col;
}

/* Ctrl-Z: the terminal is the shell's until we are continued. */
static void stop(void)
{
    stop_asked = 0;
    terminal_give_back();
    signal(SIGTSTP, SIG_DFL);
    raise(SIGTSTP);
    terminal_take();
}

/* Whether the byte is a key, and not of an arrow's or another sequence, which escape begins and a letter ends. */
static bool is_key(unsigned char byte)
{
    static enum { KEY, BEGUN, INSIDE, ENDED } sequence;
    if (byte == 0x1b)
        sequence = BEGUN;
    else if (sequence == BEGUN && (byte == '[' || byte == 'O'))
        sequence = INSIDE;
    else if (sequence == INSIDE)
        sequence = byte >= 0x40 && byte <= 0x7e ? ENDED : INSIDE;
    else
        sequence = KEY;
    return sequence == KEY;
}

int terminal_key(int ms)
{
    struct pollfd typed = {STDIN_FILENO, POLLIN, 0};
    unsigned char key;
    int ready = poll(&typed, 1, ms);
    if (stop_asked)
        stop();
    if (ready <= 0)
        return 0;
    ssize_t count = read(STDIN_FILENO, &key, 1);
    if (count <= 0)
        return count < 0 && (errno == EINTR || errno == EAGAIN) ? 0 : -1;
    return is_key(key) ? key : 0;
}

bool terminal_has_colour(void)
{
    const char *no = getenv("NO_COLOR");
    return isatty(STDOUT_FILENO) && !(no && *no);
}
