# What Debian wants of each package beside what is installed anyway. CPack runs it on the folders that become packages.
find_program(GZIP gzip REQUIRED)

foreach(package ${CPACK_COMPONENTS_ALL})
  set(root ${CPACK_TEMPORARY_DIRECTORY}/${package})
  set(doc ${root}/usr/share/doc/${package})
  file(MAKE_DIRECTORY ${doc})
  file(COPY_FILE ${CPACK_BOSKOS_DEBIAN}/copyright ${doc}/copyright)
  file(COPY_FILE ${CPACK_BOSKOS_DEBIAN}/changelog ${doc}/changelog)
  file(CHMOD ${doc} ${doc}/copyright ${doc}/changelog FILE_PERMISSIONS OWNER_READ OWNER_WRITE GROUP_READ WORLD_READ
    DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
  file(GLOB pages ${root}/usr/share/man/man*/*)
  execute_process(COMMAND ${GZIP} -9n ${doc}/changelog ${pages} COMMAND_ERROR_IS_FATAL ANY)
endforeach()
