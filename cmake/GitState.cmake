# Run at build time: cmake -DSOURCE_DIR=... -DTEMPLATE=... -DHEADER=... -P GitState.cmake
# Writes HEADER only when the commit or the dirty flag has changed, so that nothing else is rebuilt.
# Results of record do not make a tree dirty: they change nothing that is built.
set(GIT_COMMIT unknown)
set(GIT_DIRTY false)
execute_process(
  COMMAND git --no-optional-locks status --porcelain=v2 --branch -- . ":(exclude)results"
  WORKING_DIRECTORY ${SOURCE_DIR}
  OUTPUT_VARIABLE status RESULT_VARIABLE failed ERROR_QUIET)
if(NOT failed AND status MATCHES "# branch.oid ([0-9a-f]+)")
  set(GIT_COMMIT ${CMAKE_MATCH_1})
  if(status MATCHES "(^|\n)[^#\n]")
    set(GIT_DIRTY true)
  endif()
endif()
configure_file(${TEMPLATE} ${HEADER} @ONLY)
