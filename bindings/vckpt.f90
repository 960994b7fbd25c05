! vckpt: the functions of vckpt/vckpt.h for Fortran 2003 and newer; docstrings there and in vckpt(3).
!
! Compile this file with the program, and link with `pkg-config --libs vckpt`: a module that was
! compiled belongs to one compiler.  Texts are ordinary Fortran strings; blanks at their end are
! left out.  Results are the numbers of enum vckpt_result.
module vckpt
  use, intrinsic :: iso_c_binding
  implicit none
  private

  type, bind(c), public :: vckpt_outcome
    integer(c_long_long) :: epoch
    integer(c_long) :: incarnation
    integer(c_int) :: restored
    real(c_double) :: retry
  end type vckpt_outcome

  integer(c_int), parameter, public :: VCKPT_DONE = 0, VCKPT_PENDING = 1, VCKPT_FAILED = -1, &
    VCKPT_MISUSED = -2, VCKPT_NOBODY = -3, VCKPT_BUSY = -4, VCKPT_LATE = -5, VCKPT_REFUSED = -7, &
    VCKPT_SYSTEM = -9, VCKPT_GONE = -10, VCKPT_NOT_NOW = -11
  integer(c_int), parameter, public :: VCKPT_BEFORE = 1, VCKPT_AFTER = 2, VCKPT_RESTORED = 3

  ! A handle is a type(c_ptr): c_null_ptr where there is nobody to ask.
  public :: vckpt_version, vckpt_in_guest, vckpt_incarnation, vckpt_open, vckpt_close, vckpt_text, &
    vckpt_fd, vckpt_checkpoint, vckpt_checkpoint_start, vckpt_checkpoint_test, vckpt_hold_off, &
    vckpt_let_go, vckpt_listen, vckpt_poll, vckpt_scratch, vckpt_scratch_end, vckpt_report, &
    vckpt_progress, vckpt_callback

  abstract interface
    subroutine vckpt_callback(arg, event, epoch, incarnation, ok) bind(c)
      import :: c_ptr, c_int, c_long, c_long_long
      type(c_ptr), value :: arg
      integer(c_int), value :: event
      integer(c_long_long), value :: epoch
      integer(c_long), value :: incarnation
      integer(c_int), value :: ok
    end subroutine vckpt_callback
  end interface

  interface
    integer(c_int) function vckpt_version() bind(c)
      import :: c_int
    end function vckpt_version
    integer(c_int) function vckpt_in_guest() bind(c)
      import :: c_int
    end function vckpt_in_guest
    integer(c_long) function vckpt_incarnation() bind(c)
      import :: c_long
    end function vckpt_incarnation
    integer(c_int) function vckpt_open(handle) bind(c)
      import :: c_int, c_ptr
      type(c_ptr), intent(out) :: handle
    end function vckpt_open
    subroutine vckpt_close(handle) bind(c)
      import :: c_ptr
      type(c_ptr), value :: handle
    end subroutine vckpt_close
    integer(c_int) function vckpt_fd(handle) bind(c)
      import :: c_int, c_ptr
      type(c_ptr), value :: handle
    end function vckpt_fd
    integer(c_int) function vckpt_checkpoint_test(handle, outcome) bind(c)
      import :: c_int, c_ptr, vckpt_outcome
      type(c_ptr), value :: handle
      type(vckpt_outcome), intent(out) :: outcome
    end function vckpt_checkpoint_test
    integer(c_int) function vckpt_let_go(handle) bind(c)
      import :: c_int, c_ptr
      type(c_ptr), value :: handle
    end function vckpt_let_go
    ! callback: c_funloc() of a vckpt_callback, or c_null_funptr.
    integer(c_int) function vckpt_listen(handle, seconds, callback, arg) bind(c)
      import :: c_int, c_ptr, c_funptr, c_double
      type(c_ptr), value :: handle, arg
      real(c_double), value :: seconds
      type(c_funptr), value :: callback
    end function vckpt_listen
    integer(c_int) function vckpt_poll(handle) bind(c)
      import :: c_int, c_ptr
      type(c_ptr), value :: handle
    end function vckpt_poll
    ! addr: c_loc() of the first element of an array that is a target; length in bytes.
    integer(c_int) function vckpt_scratch(handle, addr, length) bind(c)
      import :: c_int, c_ptr, c_long
      type(c_ptr), value :: handle, addr
      integer(c_long), value :: length
    end function vckpt_scratch
    integer(c_int) function vckpt_scratch_end(handle, addr) bind(c)
      import :: c_int, c_ptr
      type(c_ptr), value :: handle, addr
    end function vckpt_scratch_end
    integer(c_int) function vckpt_progress(handle, done, total) bind(c)
      import :: c_int, c_ptr, c_long_long
      type(c_ptr), value :: handle
      integer(c_long_long), value :: done, total
    end function vckpt_progress

    integer(c_int) function c_checkpoint(handle, why, seconds, outcome) &
        bind(c, name='vckpt_checkpoint')
      import :: c_int, c_ptr, c_char, c_double, vckpt_outcome
      type(c_ptr), value :: handle
      character(kind=c_char), intent(in) :: why(*)
      real(c_double), value :: seconds
      type(vckpt_outcome), intent(out) :: outcome
    end function c_checkpoint
    integer(c_int) function c_checkpoint_start(handle, why) bind(c, name='vckpt_checkpoint_start')
      import :: c_int, c_ptr, c_char
      type(c_ptr), value :: handle
      character(kind=c_char), intent(in) :: why(*)
    end function c_checkpoint_start
    integer(c_int) function c_hold_off(handle, why, seconds) bind(c, name='vckpt_hold_off')
      import :: c_int, c_ptr, c_char, c_double
      type(c_ptr), value :: handle
      character(kind=c_char), intent(in) :: why(*)
      real(c_double), value :: seconds
    end function c_hold_off
    integer(c_int) function c_report(handle, what, chance, seconds, text) bind(c, name='vckpt_report')
      import :: c_int, c_ptr, c_char, c_double
      type(c_ptr), value :: handle
      character(kind=c_char), intent(in) :: what(*), text(*)
      real(c_double), value :: chance, seconds
    end function c_report
    type(c_ptr) function c_text(handle) bind(c, name='vckpt_text')
      import :: c_ptr
      type(c_ptr), value :: handle
    end function c_text
    integer(c_size_t) function c_strlen(s) bind(c, name='strlen')
      import :: c_ptr, c_size_t
      type(c_ptr), value :: s
    end function c_strlen
  end interface

contains

  integer(c_int) function vckpt_checkpoint(handle, why, seconds, outcome)
    type(c_ptr), intent(in) :: handle
    character(len=*), intent(in) :: why
    real(c_double), intent(in) :: seconds
    type(vckpt_outcome), intent(out) :: outcome
    vckpt_checkpoint = c_checkpoint(handle, trim(why)//c_null_char, seconds, outcome)
  end function vckpt_checkpoint

  integer(c_int) function vckpt_checkpoint_start(handle, why)
    type(c_ptr), intent(in) :: handle
    character(len=*), intent(in) :: why
    vckpt_checkpoint_start = c_checkpoint_start(handle, trim(why)//c_null_char)
  end function vckpt_checkpoint_start

  integer(c_int) function vckpt_hold_off(handle, why, seconds)
    type(c_ptr), intent(in) :: handle
    character(len=*), intent(in) :: why
    real(c_double), intent(in) :: seconds
    vckpt_hold_off = c_hold_off(handle, trim(why)//c_null_char, seconds)
  end function vckpt_hold_off

  integer(c_int) function vckpt_report(handle, what, chance, seconds, text)
    type(c_ptr), intent(in) :: handle
    character(len=*), intent(in) :: what, text
    real(c_double), intent(in) :: chance, seconds
    vckpt_report = c_report(handle, trim(what)//c_null_char, chance, seconds, trim(text)//c_null_char)
  end function vckpt_report

  function vckpt_text(handle) result(text)
    type(c_ptr), intent(in) :: handle
    character(len=:), allocatable :: text
    character(kind=c_char), pointer :: c(:)
    type(c_ptr) :: p
    integer :: i, n
    p = c_text(handle)
    n = int(c_strlen(p))
    call c_f_pointer(p, c, [n])
    allocate (character(len=n) :: text)
    do i = 1, n
      text(i:i) = c(i)
    end do
  end function vckpt_text
end module vckpt
