import os
import signal
import threading

import pytest

from sparing.training.interrupt import Interrupt


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_is_noted_and_handlers_come_back(number):
    before = signal.getsignal(number)
    with Interrupt() as interrupt:
        assert interrupt.name is None
        os.kill(os.getpid(), number)
        assert interrupt.name == number.name
    assert signal.getsignal(number) is before


@pytest.fixture
def _ctrl_c_interrupts():
    """A shell starts a job of `&` with Ctrl-C ignored; here it is not."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_ctrl_c_interrupts")
def test_a_second_ctrl_c_acts_as_ever():
    with Interrupt():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_another_thread_takes_no_signals():
    names = []

    def work():
        with Interrupt() as interrupt:
            names.append(interrupt.name)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert names == [None]
