! A program in Fortran that asks for a checkpoint every 50 steps and goes on where there is nobody
! to ask: bindings/vckpt.f90 is the module.
program selfsave
  use, intrinsic :: iso_c_binding
  use vckpt
  implicit none
  type(c_ptr) :: me
  type(vckpt_outcome) :: got
  integer(c_int) :: rc
  integer :: step

  rc = vckpt_open(me)
  if (rc == VCKPT_NOBODY) print '(a)', 'nobody to ask for a checkpoint, going on'
  do step = 1, 100
    rc = vckpt_poll(me)
    if (mod(step, 50) /= 0) cycle
    rc = vckpt_progress(me, int(step, c_long_long), 100_c_long_long)
    rc = vckpt_hold_off(me, 'writes its tables', 5.0_c_double)
    if (rc == VCKPT_DONE) rc = vckpt_let_go(me)
    rc = vckpt_checkpoint(me, 'from Fortran', 1.0_c_double, got)
    if (rc == VCKPT_DONE .and. got%restored == 1) then
      print '(a,i0)', 'restored, incarnation ', got%incarnation
    else if (rc == VCKPT_DONE) then
      print '(a,i0,a)', 'epoch ', got%epoch, ' is committed'
    else if (rc /= VCKPT_NOBODY) then
      print '(a,i0,2a)', 'no checkpoint (', rc, '): ', vckpt_text(me)
    end if
  end do
  print '(a)', '100 steps'
  call vckpt_close(me)
end program selfsave
