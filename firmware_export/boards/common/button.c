#include "button.h"

#include <signal.h>

static volatile sig_atomic_t pressed;

static void on_press(int number)
{
    (void)number;
    pressed = 1;
}

void button_watch(void)
{
    (void)signal(SIGUSR1, on_press);
}

int button_pressed(void)
{
    const int was = pressed != 0;
    if (was) {
        pressed = 0;
    }
    return was;
}
