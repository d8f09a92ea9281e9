/* password.c - appserver -hash-password: reads a password and prints the bcrypt hash that auth.users takes. */
#include "api/api.h"
#include "identity/identity.h"
#include <stdio.h>
#include <termios.h>
#include <unistd.h>

enum { PASSWORD_MAX = 72, HASH_ROOM = 128 }; /* bcrypt looks at 72 bytes */

static bool read_line(char *line, size_t room)
{
    struct termios shown, hidden;
    bool terminal = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &shown) == 0;
    if (terminal) {
        fputs("Password: ", stderr);
        hidden = shown;
        hidden.c_lflag &= ~(tcflag_t)ECHO;
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden);
    }
    bool good = fgets(line, (int)room, stdin) != NULL;
    if (terminal) {
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &shown);
        fputc('\n', stderr);
    }
    line[good ? strcspn(line, "\r\n") : 0] = 0;
    return good;
}

int password_command(void)
{
    char line[PASSWORD_MAX + 8], hash[HASH_ROOM];
    bool good = read_line(line, sizeof line);
    size_t n = strlen(line);
    if (!good || n == 0 || n > PASSWORD_MAX) {
        fprintf(stderr, "a password of 1 to %d bytes is expected on standard input\n", PASSWORD_MAX);
        explicit_bzero(line, sizeof line);
        return 1;
    }
    good = password_hash(line, hash, sizeof hash);
    explicit_bzero(line, sizeof line);
    if (good) puts(hash);
    return good ? 0 : 1;
}
